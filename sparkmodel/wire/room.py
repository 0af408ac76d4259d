# SPDX-License-Identifier: Apache-2.0
"""The room before the model: who may call it next, in turn for all callers, one call at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

from sparkmodel.errors import DeadlineExceededError, PoolBusyError, SparkModelError, WorkerStoppingError
from sparkmodel.wire.credits import Credits
from sparkmodel.wire.pace import Pace
from sparkmodel.wire.queues import Queues, Waiter
from sparkmodel.wire.turns import Inside, Turn, Visit

MAX_QUEUED_BYTES = 1 << 28
_LOOK_S = 0.2  # how often one that waits looks whether its caller still does
_GRACE_S = 5.0  # for a call that took too long to end after it was told to


class Room:
    """Lets `width` calls of the model be under way at once, and bounds the batches that wait for theirs.

    A model is called by one thread at a time unless it was registered with more: most models are not thread-safe.
    Turns are single calls, so a batch that takes many leaves room for others between two of them.

    Args:
        width: Calls at once.
        max_queued: Batches that may be here beyond those.
        max_queued_bytes: Their bytes, of those that need leave to be sent.
        inside: Entered around each call, with the numbers of its batches.

    Attributes:
        stopping: Whether no batch is begun any more.
        credits: Who may send how much.
        pace: How long a batch is in the model.
        refused: Batches that were not let in, by condition.
    """

    def __init__(
        self,
        width: int = 1,
        max_queued: int = 100,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        inside: Inside | None = None,
    ) -> None:
        self.lock, self.inside, self.stopping = threading.Lock(), inside, False
        self.credits, self.pace = Credits(max_queued_bytes, self.attend), Pace()
        self.refused: dict[str, int] = {}
        self._width, self._max_queued = width, max_queued
        self._visits: dict[Visit, None] = {}
        self._turns: dict[Turn, None] = {}
        self._queues, self._is_ended = Queues(), False

    @property
    def load(self) -> int:
        """Batches that wait, are in the model, or are on their way."""
        return len(self._visits)

    @property
    def waited_s(self) -> float:
        """Seconds that batches have waited since the start, all together, those that wait now included."""
        with self.lock:
            since: list[float] = [waiter.since for waiter in [*self._queues, *self.credits.waiting()]]
            ended_s = self._queues.waited_s + self.credits.waited_s
        return ended_s + len(since) * time.monotonic() - sum(since)

    @property
    def oldest_wait_s(self) -> float:
        """Seconds that the batch that waits longest has waited; 0 if none does."""
        with self.lock:
            since = min((waiter.since for waiter in [*self._queues, *self.credits.waiting()]), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def resize(self, width: int, max_queued: int, max_queued_bytes: int = MAX_QUEUED_BYTES) -> None:
        """Let more or fewer in from now on; whoever is inside or waits already may stay."""
        with self.lock:
            self._width, self._max_queued = width, max_queued
            self._admit()
        self.credits.resize(max_queued_bytes)

    def running(self) -> list[Turn]:
        """The calls of the model that are under way."""
        with self.lock:
            return list(self._turns)

    def stop(self, *, at_once: bool = False) -> None:
        """Begin no batch any more; those that have been in the model already go on, unless it is to be at once."""
        self.stopping, self._is_ended = True, self._is_ended or at_once
        with self.lock:
            for waiter in [*self._queues, *self.credits.waiting()]:
                waiter.told.set()

    def end_overdue(self, limit_s: float, error: SparkModelError) -> bool:
        """Answer the batches of calls that have taken longer, and try to end these.

        Returns:
            Whether one that was to end some time ago has not.
        """
        is_stuck, late, now = False, list[Turn](), time.monotonic()
        with self.lock:
            for turn in self._turns:
                if turn.struck is not None:
                    is_stuck = is_stuck or now - turn.struck > min(limit_s, _GRACE_S)
                elif now - turn.started > limit_s:
                    turn.strike(error)
                    late.append(turn)
        for turn in late:
            for visit in turn.visits:
                visit.fail(error)
        return is_stuck

    def tell_again(self) -> None:
        """Answer the batches of calls that took too long, those that could not be told before."""
        for turn in self.running():
            if turn.error is not None:
                for visit in turn.visits:
                    visit.fail(turn.error)

    def arrive(self, visit: Visit) -> None:
        """Take a place in the room; `go` gives it back.

        If all are taken, one that waits of the caller of which most do has to leave for one of which fewer do.

        Raises:
            PoolBusyError: all are taken.
            WorkerStoppingError: the worker stops.
            DeadlineExceededError: it comes too late.
        """
        with self.lock:
            self.check(visit, look=False)
            if len(self._visits) >= self._width + self._max_queued and not self._refuse_one(visit.caller):
                raise PoolBusyError(visit.what, f"{len(self._visits)} batches wait in this worker")
            self._visits[visit] = None

    def refuse(self, condition: str) -> None:
        """Count a batch that was not let in."""
        with self.lock:
            self.refused[condition] = self.refused.get(condition, 0) + 1

    def take_over(self, granted: Visit, visit: Visit) -> None:
        """Let a batch that has come have the place of its leave to be sent."""
        with self.lock:
            self._visits.pop(granted, None)
            self._visits[visit] = None

    def go(self, visit: Visit) -> None:
        """Give a place back."""
        if visit.error is not None:  # in case its thread was struck on its way out
            for turn in self.running():
                if visit in turn.visits:
                    turn.end_here()
        with self.lock:
            self._visits.pop(visit, None)

    def turns(self, visit: Visit) -> Callable[[], Turn]:
        """Makes the turns of a batch."""
        return lambda: Turn(self, (visit,))

    def take(self, turn: Turn) -> None:
        """Wait for a place at the model, then hold it. Called by `Turn.take`, which tells what is raised."""
        visit, waiter = turn.visits[0], None
        with self.lock:
            self.check(visit, look=False)
            if not self._queues and self._has_place(visit):
                self._turns[turn] = None
            else:
                waiter = Waiter(visit.caller, turn)
                self._queues.add(waiter)
        if waiter is not None:
            self._wait(waiter, visit)
        visit.is_begun = True

    def leave(self, turn: Turn) -> None:
        """Give a place at the model back."""
        with self.lock:
            self._turns.pop(turn, None)
            self._admit()

    def attend(self, waiter: Waiter, visit: Visit) -> None:
        """Return when one that waits is let in.

        Raises:
            SparkModelError: it is to wait no longer; it still stands in its queue.
        """
        visit.waiter = waiter
        try:
            while not waiter.is_let_in:
                waiter.told.wait(max(0.0, min(_LOOK_S, visit.deadline - time.monotonic())))
                waiter.told.clear()
                if waiter.is_let_in:
                    break
                if waiter.refusal is not None:
                    raise waiter.refusal
                self.check(visit)
        finally:
            visit.waiter = None
            visit.waited_s += time.monotonic() - waiter.since

    def check(self, visit: Visit, look: bool = True) -> None:
        """Whether a batch is still to be scored.

        Args:
            visit: Its stay.
            look: Whether to look for its caller, which costs as much as the rest of the way.

        Raises:
            WorkerStoppingError, DeadlineExceededError: it is not.
            PredictTimeoutError: one of its calls took too long.
        """
        if visit.error is not None:
            raise visit.error
        if self._is_ended or (self.stopping and not visit.is_begun) or (look and visit.gone()):
            raise WorkerStoppingError(visit.what, "the worker is stopping, or the caller has gone")
        if time.monotonic() > visit.deadline:
            raise DeadlineExceededError(visit.what, "the deadline passed while the batch waited")

    def _wait(self, waiter: Waiter, visit: Visit) -> None:
        try:
            self.attend(waiter, visit)
            self.check(visit)
        except BaseException:
            with self.lock:
                if waiter.is_let_in:  # at this very moment
                    self._turns.pop(waiter.stands_for, None)
                else:
                    self._queues.remove(waiter)
                self._admit()
            raise

    def _has_place(self, visit: Visit) -> bool:
        if not self._turns:
            return True
        if visit.is_alone or len(self._turns) >= self._width:
            return False
        return not any(turn.visits[0].is_alone for turn in self._turns)

    def _admit(self) -> None:
        while (waiter := self._queues.first()) is not None and self._has_place(waiter.stands_for.visits[0]):
            self._queues.pop()
            self._turns[waiter.stands_for] = None

    def _refuse_one(self, caller: Hashable) -> bool:
        """Have one that waits make room, if its caller has more of them than this one would have."""
        waiting: dict[Hashable, list[tuple[Visit, Waiter]]] = {}
        for visit in self._visits:
            waiter = visit.waiter  # read once: its own thread lets go of it without the lock
            if not visit.is_begun and waiter is not None and waiter.refusal is None:
                waiting.setdefault(visit.caller, []).append((visit, waiter))
        most = max(waiting.values(), key=len, default=[])
        if len(most) < len(waiting.get(caller, ())) + 2:
            return False
        newest, waiter = next((one for one in reversed(most) if not one[0].is_here), most[-1])  # it has sent nothing
        waiter.refusal = PoolBusyError(newest.what, "it made room for a caller of which fewer batches wait")
        waiter.told.set()
        return True
