# SPDX-License-Identifier: Apache-2.0
"""Leave to send: who may send a long batch now, so that the bytes that a worker holds are bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sparkmodel.errors import PoolBusyError
from sparkmodel.wire.queues import Queues, Waiter
from sparkmodel.wire.turns import Visit

FREE_BYTES = 1 << 16  # a message up to here needs no leave


class Credits:
    """Gives leave to send, in turn for all callers, while the bytes of those who have it stay within the budget.

    Who wants to send more than the whole budget gets leave when nobody else has it.

    Args:
        budget: Bytes.
        attend: Returns when one that waits is let in, or raises.
    """

    def __init__(self, budget: int, attend: Callable[[Waiter, Visit], None]) -> None:
        self._budget, self._attend, self._used = budget, attend, 0
        self._lock, self._queues = threading.Lock(), Queues()

    @property
    def used(self) -> int:
        """Bytes that have leave."""
        return self._used

    @property
    def waited_s(self) -> float:
        """Seconds that were waited for leave, together, by those who wait no longer."""
        return self._queues.waited_s

    def waiting(self) -> list[Waiter]:
        """Those who wait."""
        with self._lock:
            return list(self._queues)

    def resize(self, budget: int) -> None:
        """Take another budget for those who come from now on."""
        with self._lock:
            self._budget = budget
            self._admit()

    def take(self, visit: Visit, size: int, waits: bool = True) -> None:
        """Get leave; `give_back` ends it.

        Args:
            visit: The batch.
            size: Its bytes.
            waits: Whether to wait for it.

        Raises:
            PoolBusyError: it may not be sent now.
            WorkerStoppingError, DeadlineExceededError: it is not to be sent any more.
        """
        with self._lock:
            if not self._queues and self._fits(size):
                self._used += size
                return
            if not waits:
                raise PoolBusyError(visit.what, f"{self._used} bytes are on their way to this worker, or held in it")
            waiter = Waiter(visit.caller, size)
            self._queues.add(waiter)
        try:
            self._attend(waiter, visit)
        except BaseException:
            with self._lock:
                if waiter.is_let_in:
                    self._used -= size
                else:
                    self._queues.remove(waiter)
                self._admit()
            raise

    def give_back(self, size: int) -> None:
        """The answer was sent, or will not be."""
        with self._lock:
            self._used -= size
            self._admit()

    def _fits(self, size: int) -> bool:
        return not self._used or self._used + size <= self._budget

    def _admit(self) -> None:
        while (waiter := self._queues.first()) is not None and self._fits(waiter.stands_for):
            self._used += self._queues.pop().stands_for
