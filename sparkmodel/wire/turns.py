# SPDX-License-Identifier: Apache-2.0
"""The stay of a batch in the room, and its turns there: single calls of the model."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from types import TracebackType
from typing import Protocol

from sparkmodel.errors import SparkModelError
from sparkmodel.wire.queues import Waiter
from sparkmodel.wire.strikes import Struck, spare, strike

Inside = Callable[[Sequence[tuple[int, int]]], contextlib.AbstractContextManager[None]]


@dataclasses.dataclass(eq=False, slots=True)
class Visit:
    """The stay of one batch in the room, from its arrival to its answer.

    Attributes:
        what: The action for an error.
        caller: Who is served in turn with others: a query, or a connection.
        number: The connection's number and the batch's on it.
        deadline: Monotonic time until which each call must have been begun.
        gone: Whether its caller has gone away.
        fail: Answers the batch in place of its own thread, which is in the model.
        is_alone: Whether nothing else is to be in the model with it.
        is_here: Whether its bytes have come; before, it waits for the leave to send them, or has it.
        is_begun: Whether it has been in the model.
        waited_s: Seconds that it has waited for its turns.
        error: What it was answered in place of its own thread.
        waiter: How it waits, if it does.
    """

    what: str
    caller: Hashable
    number: tuple[int, int]
    deadline: float
    gone: Callable[[], bool]
    fail: Callable[[SparkModelError], None]
    is_alone: bool = False
    is_here: bool = True
    is_begun: bool = False
    waited_s: float = 0.0
    error: SparkModelError | None = None
    waiter: Waiter | None = None


class Doors(Protocol):
    """What a turn wants of the room."""

    lock: threading.Lock
    inside: Inside | None

    def take(self, turn: Turn) -> None:
        """Wait until it may go in."""

    def leave(self, turn: Turn) -> None:
        """It is in no longer."""


class Turn:
    """One call of the model for a batch, or for several that were joined. Entered around the call.

    Attributes:
        visits: The batches; the first one's caller is charged.
        started: Monotonic time since when the call is timed; infinite before.
        error: What its batches were answered because it took too long.
        struck: When that was.
    """

    def __init__(self, doors: Doors, visits: Sequence[Visit]) -> None:
        self.visits, self.started = visits, math.inf
        self.error: SparkModelError | None = None
        self.struck: float | None = None
        self._doors, self._is_in, self._is_open = doors, False, False
        self._thread = 0
        self._observer: contextlib.AbstractContextManager[None] | None = None
        self._cancel: Callable[[], None] | None = None

    def take(self) -> None:
        """Wait until it is its turn; what is in the model for it is timed from when it is entered.

        Raises:
            WorkerStoppingError: the worker stops, or the caller went away while it waited.
            DeadlineExceededError: the deadline passed while it waited.
            PoolBusyError: it had to make room for a caller of which fewer wait.
            PredictTimeoutError: another call of the batch took too long.
        """
        self._doors.take(self)
        self._is_in = True

    def __enter__(self) -> Turn:
        if not self._is_in:
            self.take()
        try:
            if self._doors.inside is not None:
                observer = self._doors.inside([visit.number for visit in self.visits])
                observer.__enter__()
                self._observer = observer
        except BaseException:
            self.end()
            raise
        self._thread = threading.get_ident()
        self.started = time.monotonic()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shut()
        if self._cancel is None or kind is not None:
            self.end()
            if self.error is not None:  # its batches are answered; whatever the model gave comes too late
                raise self.error from error

    def detach(self, cancel: Callable[[], None]) -> None:
        """Let the call go on when this is left, until `end`.

        Args:
            cancel: Ends the call.
        """
        self._shut()
        with self._doors.lock:
            if self.error is None:
                self._cancel = cancel
                return
        raise self.error

    def strike(self, error: SparkModelError) -> None:
        """End the call, as far as that can be done. The caller of this holds the room's lock."""
        self.error, self.struck = error, time.monotonic()
        for visit in self.visits:
            visit.error = error
        if self._cancel is not None:
            self._cancel()
        elif self._is_open:
            strike(self._thread)

    def end(self) -> None:
        """Leave the room, once."""
        if self._is_in:
            self._is_in = False
            self._shut()
            try:
                if self._observer is not None:
                    self._observer.__exit__(None, None, None)
            finally:
                self._doors.leave(self)

    def end_here(self) -> None:
        """Leave the room if it is this thread that is in it, and was struck on its way out."""
        if self._cancel is None and self._thread == threading.get_ident():
            self.end()

    def _shut(self) -> None:
        """Nothing is raised in this thread any more; what was meant to be and has not been is taken back."""
        while self._is_open:
            try:
                with self._doors.lock:
                    if self.struck is not None:
                        spare(self._thread)
                    self._is_open = False
            except Struck:  # just now
                continue


class FreeTurn:
    """A turn that nobody has to wait for."""

    error: SparkModelError | None = None

    def __enter__(self) -> FreeTurn:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def detach(self, cancel: Callable[[], None]) -> None:
        """It holds nothing."""

    def end(self) -> None:
        """It holds nothing."""
