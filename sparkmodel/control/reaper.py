# SPDX-License-Identifier: Apache-2.0
"""Ends pools that nobody uses."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from typing import Any

from sparkmodel.control.locks import Locks
from sparkmodel.errors import SparkModelError
from sparkmodel.keeper import connection
from sparkmodel.registration.serve import find

_log = logging.getLogger(__name__)
_TICK_S = 0.5


@dataclasses.dataclass
class _Watched:
    """What is known of one pool: when it was last seen used, and what it had counted then."""

    idle_s: float
    used: float
    counted: tuple[Any, ...] = ()


class Reaper:
    """Watches pools from a thread that lives as long as there are any.

    Args:
        locks: By name of a pool: one that somebody is about to use does not end.
    """

    def __init__(self, locks: Locks) -> None:
        self._locks, self._guard = locks, threading.Lock()
        self._watched: dict[str, _Watched] = {}
        self._runs = False

    def watch(self, name: str, idle_s: float) -> None:
        """End the pool once it was not used for `idle_s`; 0 never does."""
        if idle_s <= 0:
            return
        with self._guard:
            self._watched[name] = _Watched(idle_s, time.monotonic())
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="sparkmodel-reaper", daemon=True).start()

    def touch(self, name: str) -> None:
        """Note that somebody is about to use the pool."""
        with self._guard:
            if name in self._watched:
                self._watched[name].used = time.monotonic()

    def _run(self) -> None:
        while True:
            with self._guard:
                if not connection.is_connected():  # then the pools are gone, or not ours any more
                    self._watched.clear()
                shortest = min((watched.idle_s for watched in self._watched.values()), default=None)
                if shortest is None:
                    self._runs = False
                    return
            time.sleep(max(_TICK_S, shortest / 8))
            for name in list(self._watched):
                try:
                    self._look(name)
                except SparkModelError as error:  # Ray may be slow, or gone
                    _log.warning("the use of '%s' is not known: %s", name, error)

    def _look(self, name: str) -> None:
        with self._locks.of(name):
            pool = find(name) if connection.is_connected() else None
            if pool is None:
                self._forget(name)
                return
            stats = pool.stats()
            counted = (stats["batches"], stats["calls"], stats["errors"])
            with self._guard:
                watched = self._watched[name]
                if counted != watched.counted or stats["queued"]:
                    watched.used, watched.counted = time.monotonic(), counted
                if time.monotonic() - watched.used < watched.idle_s:
                    return
            _log.info("'%s' ends: it was not used for %g s", name, watched.idle_s)
            pool.drop()
            self._forget(name)

    def _forget(self, name: str) -> None:
        with self._guard:
            self._watched.pop(name, None)
