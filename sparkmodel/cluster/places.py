# SPDX-License-Identifier: Apache-2.0
"""Nodes as their supervisor sees them: its own, and others of which it hears by way of their actors."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import Any, Protocol

import ray

from sparkmodel.cluster.host import Host
from sparkmodel.pool.judge import LOST, READY, SILENT

_log = logging.getLogger(__name__)
_ASK_S = 0.5
SILENT_S, LOST_S = 5.0, 15.0
_now = time.monotonic


class Node(Protocol):
    """Where workers live, and are watched; `Host`'s methods by name, with their answers to come."""

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        """Have it done."""

    def state(self, key: str) -> str:
        """Of a worker there, without asking: as in `sparkmodel.pool.judge`."""


class Near:
    """The node of this process."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = getattr(self._host, method)(*arguments)
        return future

    def state(self, key: str) -> str:
        return self._host.state(key)


class Far:
    """Another node, by way of its `HostActor`, which is asked for news all the time.

    A host of which nothing is heard is silent, with all its workers, long before Ray gives it up.

    Args:
        actor: It.
    """

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self._heard, self._states = _now(), dict[str, str]()
        self._has_spoken = False  # it may have to be started first, which takes its time
        threading.Thread(target=self._listen, name="sparkmodel-news", daemon=True).start()

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = getattr(self.actor, method).remote(*arguments).future()
        return future

    @property
    def is_lost(self) -> bool:
        """Whether nothing was heard of it for so long that its workers have to be replaced."""
        return self._silent_s > LOST_S

    @property
    def _silent_s(self) -> float:
        return _now() - self._heard if self._has_spoken else 0.0

    def state(self, key: str) -> str:
        if self._silent_s > SILENT_S:
            return LOST if self.is_lost else SILENT
        return self._states.get(key, READY)

    def _listen(self) -> None:
        while True:
            try:
                self._states = self.ask("news").result()
                self._heard, self._has_spoken = _now(), True
            except ray.exceptions.ActorUnavailableError:  # it may come back
                pass
            except Exception as error:  # of Ray's end too
                _log.info("a host has ended: %s", error)  # its workers' lifelines say so too
                return
            time.sleep(_ASK_S)
