# SPDX-License-Identifier: Apache-2.0
"""The way into a model: so many batches at once, the others in the order in which they came."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from sparkmodel.errors import DeadlineExceededError, PoolBusyError, WorkerStoppingError

_LOOK_S = 0.2  # how often one that waits looks whether its caller still does


@dataclasses.dataclass(eq=False)
class Stay:
    """The stay of one batch in the model, since a time of the monotonic clock."""

    started: float


@dataclasses.dataclass(eq=False)
class _Waiter:
    since: float
    stay: Stay | None = None
    admitted: threading.Event = dataclasses.field(default_factory=threading.Event)


class Gate:
    """Lets `width` batches into the model at once and bounds those that wait.

    A model is called by one thread at a time unless it was registered with more: most models are not thread-safe.

    Attributes:
        stopping: Whether nobody is let in any more.
    """

    def __init__(self, width: int, max_queued: int) -> None:
        self._width, self._max_queued = width, max_queued
        self._lock = threading.Lock()
        self._inside: set[Stay] = set()
        self._waiting: deque[_Waiter] = deque()
        self._waited_s = 0.0
        self.stopping = False

    @property
    def load(self) -> int:
        """Batches waiting or in the model."""
        return len(self._inside) + len(self._waiting)

    @property
    def waited_s(self) -> float:
        """Seconds that batches have waited since the start, all together, those that wait now included."""
        with self._lock:
            now = time.monotonic()
            return self._waited_s + sum(now - waiter.since for waiter in self._waiting)

    @property
    def oldest_wait_s(self) -> float:
        """Seconds that the batch that waits longest has waited; 0 if none does."""
        with self._lock:
            return time.monotonic() - self._waiting[0].since if self._waiting else 0.0

    def resize(self, width: int, max_queued: int) -> None:
        """Let more or fewer in from now on; whoever is inside or waits already may stay."""
        with self._lock:
            self._width, self._max_queued = width, max_queued
            self._admit()

    def running(self) -> list[Stay]:
        """The batches that are in the model now."""
        with self._lock:
            return list(self._inside)

    @contextlib.contextmanager
    def enter(self, what: str, deadline: float, gone: Callable[[], bool]) -> Iterator[Stay]:
        """Wait for a slot, then hold it.

        Raises:
            PoolBusyError: too many wait already.
            WorkerStoppingError: the worker stops, or the caller went away while waiting.
            DeadlineExceededError: the deadline passed while waiting.
        """
        waiter = None
        with self._lock:
            if self.load >= self._width + self._max_queued:
                raise PoolBusyError(what, f"{self.load} batches wait in this worker")
            if len(self._inside) < self._width and not self._waiting:
                stay = Stay(time.monotonic())
                self._inside.add(stay)
            else:
                waiter = _Waiter(time.monotonic())
                self._waiting.append(waiter)
        if waiter is not None:
            stay = self._wait(waiter, what, deadline, gone)
        try:
            # a free slot is taken without a look at the caller, which costs as much as the rest of this
            self._check(what, deadline, gone if waiter else None)
            yield stay
        finally:
            with self._lock:
                self._inside.discard(stay)
                self._admit()

    def _wait(self, waiter: _Waiter, what: str, deadline: float, gone: Callable[[], bool]) -> Stay:
        try:
            while not waiter.admitted.wait(_LOOK_S):
                self._check(what, deadline, gone)
        except BaseException:
            with self._lock:
                if waiter.stay is None:
                    self._leave(waiter)
                else:  # let in at this very moment
                    self._inside.discard(waiter.stay)
                self._admit()
            raise
        assert waiter.stay is not None
        return waiter.stay

    def _admit(self) -> None:
        while self._waiting and len(self._inside) < self._width:
            waiter = self._waiting[0]
            self._leave(waiter)
            waiter.stay = Stay(time.monotonic())
            self._inside.add(waiter.stay)
            waiter.admitted.set()

    def _leave(self, waiter: _Waiter) -> None:
        self._waiting.remove(waiter)
        self._waited_s += time.monotonic() - waiter.since

    def _check(self, what: str, deadline: float, gone: Callable[[], bool] | None) -> None:
        if self.stopping or (gone is not None and gone()):
            raise WorkerStoppingError(what, "the worker is stopping, or the caller has gone")
        if time.monotonic() > deadline:
            raise DeadlineExceededError(what, "the deadline passed while the batch waited")
