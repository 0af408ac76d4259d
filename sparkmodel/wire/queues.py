# SPDX-License-Identifier: Apache-2.0
"""Those who wait, a queue for each caller, and whose turn is next."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Any

_REMEMBERED = 1000  # callers whose last turns are known; of those beyond, only who is ahead of the others


class Waiter:
    """One that waits.

    Attributes:
        caller: Whose queue it stands in.
        stands_for: What is let in.
        since: When it began to wait, by the monotonic clock.
        told: Set when it has to look at what has become of it.
        is_let_in: Whether its turn has come.
        refusal: Why it is to wait no longer, if it was not let in before it heard of that.
    """

    __slots__ = ("caller", "is_let_in", "refusal", "since", "stands_for", "told")

    def __init__(self, caller: Hashable, stands_for: Any) -> None:
        self.caller, self.stands_for = caller, stands_for
        self.since: float = time.monotonic()
        self.told, self.is_let_in = threading.Event(), False
        self.refusal: Exception | None = None


class _Queue:
    __slots__ = ("caller", "waiters")

    def __init__(self, caller: Hashable) -> None:
        self.caller, self.waiters = caller, deque[Waiter]()


class Queues:
    """Serves callers in turn, however many of each wait. Not safe for threads.

    Each turn of a caller is numbered one above its last, or as the turn that is served now where that is greater: who
    comes seldom is next, and gains nothing for later by not having come. The least number is served first, of equal
    ones the queue that came first.

    Attributes:
        waited_s: Seconds that those have waited, together, who wait no longer.
    """

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._queues: dict[Hashable, _Queue] = {}
        self._order: list[tuple[int, int, _Queue]] = []  # a heap, also of queues that have become empty
        self._arrivals = itertools.count()
        self._now, self._next = 0, dict[Hashable, int]()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[Waiter]:
        for queue in self._queues.values():
            yield from queue.waiters

    def add(self, waiter: Waiter) -> None:
        """Let one wait, behind the others of its caller."""
        queue = self._queues.get(waiter.caller)
        if queue is None:
            queue = self._queues[waiter.caller] = _Queue(waiter.caller)
            self._push(queue)
        queue.waiters.append(waiter)

    def first(self) -> Waiter | None:
        """Who is next, if anybody waits."""
        while self._order:
            waiters = self._order[0][2].waiters
            if waiters:
                return waiters[0]
            heapq.heappop(self._order)  # all of them have gone away
        return None

    def pop(self) -> Waiter:
        """Let in who is next; `first` has just told that there is one."""
        number, _, queue = heapq.heappop(self._order)
        waiter = queue.waiters.popleft()
        self._now = max(self._now, number)
        self._next[waiter.caller] = self._now + 1
        if len(self._next) > _REMEMBERED:
            self._next = {caller: turn for caller, turn in self._next.items() if turn > self._now}
        self._end(waiter)
        if queue.waiters:
            self._push(queue)
        else:
            del self._queues[waiter.caller]
        waiter.is_let_in = True
        waiter.told.set()
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Let one go that waits for nothing any more."""
        queue = self._queues[waiter.caller]
        queue.waiters.remove(waiter)
        self._end(waiter)
        if not queue.waiters:
            del self._queues[waiter.caller]

    def _push(self, queue: _Queue) -> None:
        number = max(self._now, self._next.get(queue.caller, 0))
        heapq.heappush(self._order, (number, next(self._arrivals), queue))

    def _end(self, waiter: Waiter) -> None:
        self.waited_s += time.monotonic() - waiter.since
