# SPDX-License-Identifier: Apache-2.0
"""Asks all pools for their figures, within a time, and not more often than they change."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from sparkmodel.errors import ModelNotFoundError, PoolGoneError, SparkModelError

_log = logging.getLogger(__name__)
FRESH_S, LIMIT_S = 2.0, 3.0
_ASKED_AT_ONCE = 8

Stats = dict[str, Any]


class Pools(Protocol):
    """What is asked of `sparkmodel.keeper.pools`."""

    def names(self) -> list[str]:
        """Of all models."""

    def find(self, name: str) -> Any:
        """The pool of a model, which has `stats()`."""


class Reader:
    """Reads what pools tell. Safe for many threads.

    A pool that does not answer in time is told as None, and is not asked again while that call of it hangs: it holds
    one thread, however often it is looked at.

    Args:
        pools: Gives what has `names` and `find`, when it is needed.
        limit_s: Longest time that a look takes.
        fresh_s: How long what was seen is good.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        pools: Callable[[], Pools],
        limit_s: float = LIMIT_S,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pools, self._limit_s, self._fresh_s, self._clock = pools, limit_s, fresh_s, clock
        self._threads = ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="sparkmodel-metrics")
        self._looks, self._lock = threading.Lock(), threading.Lock()
        self._asked: dict[str, Future[Any]] = {}
        self._seen: tuple[float, Mapping[str, Stats | None]] | None = None
        self._names: list[str] = []

    def read(self) -> Mapping[str, Stats | None]:
        """Of each model what its pool tells; None where it did not answer in time."""
        with self._looks:
            if self._seen is None or self._clock() - self._seen[0] >= self._fresh_s:
                found = self._look()
                self._seen = self._clock(), found
            return self._seen[1]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> Mapping[str, Stats | None]:
        until = time.monotonic() + self._limit_s
        names = self._ask("", lambda: self._pools().names())
        wait([names], self._limit_s)
        if names.done() and not names.cancelled() and names.exception() is None:
            self._names = names.result()
        calls = {name: self._ask(name, functools.partial(self._stats, name)) for name in self._names}
        wait(calls.values(), max(0.0, until - time.monotonic()))
        found: dict[str, Stats | None] = {}
        for name, call in calls.items():
            error = call.exception() if call.done() else None
            if isinstance(error, ModelNotFoundError | PoolGoneError):
                continue  # dropped meanwhile
            found[name] = call.result() if call.done() and error is None else None
        return found

    def _stats(self, name: str) -> Stats:
        try:
            stats: Stats = self._pools().find(name).stats()
        except SparkModelError:
            raise
        except Exception:
            _log.exception("cannot read the figures of '%s'", name)
            raise
        return stats

    def _ask(self, name: str, task: Callable[[], Any]) -> Future[Any]:
        """Ask in a thread, unless it was asked already and has not answered."""
        with self._lock:
            call = self._asked.get(name)
            if call is None or call.done():
                call = self._asked[name] = self._threads.submit(task)
            for gone in [other for other, one in self._asked.items() if other and one.done() and other != name]:
                if gone not in self._names:
                    del self._asked[gone]
            return call
