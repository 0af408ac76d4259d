# SPDX-License-Identifier: Apache-2.0
"""What is under way: a call, and each of its batches."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable

import pyarrow as pa

from sparkmodel.errors import DeadlineExceededError, PoolBusyError, SparkModelError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.directory import Endpoint
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.losses import Bisection, History
from sparkmodel.wire.router import Route
from sparkmodel.wire.streams import StreamKey
from sparkmodel.wire.verdicts import key_of

FATE_S = 5.0  # how long a master may take to say what became of a batch; it waits 4 s for the news itself
LAST_S = 0.7  # beyond a deadline, for the reason why it passed: no call outlives its own by more than a second
_LEAST_S = 0.1


@dataclasses.dataclass(eq=False)
class Call:
    """One call of `predict`: what all of its batches share.

    Attributes:
        handle: That of the function that is called.
        by_name: Whether column names mean anything.
        timeout_s: Deadline of each batch from when it is sent, None without one.
        partition: Of the Spark task that makes it, None for no task.
        version: What answers it: of a query for good once it is known, else for as long as that version has workers.
        answering: What its worker said that it is, as the last batch was sent.
        until: When the whole call ends, by the monotonic clock; None if only its batches do.
        is_held: Whether no other version may answer it, though it is no query.
        queue_us, predict_us: Microseconds that its batches waited in workers, and were in the model, together.
        lost: Times that one of them lost its worker.
        result_type: Arrow type of one row's answer, once a worker has told it.
        window: Its batches under way, in order; None for an empty one.
    """

    handle: Handle
    by_name: bool
    timeout_s: float | None = None
    partition: int | None = None
    version: int | None = None
    is_held: bool = False
    answering: int | None = None
    until: float | None = None
    queue_us: int = 0
    predict_us: int = 0
    lost: int = 0
    result_type: pa.DataType | None = None
    window: deque[Ticket | None] = dataclasses.field(default_factory=deque)
    _stream: StreamKey | None = None

    def unread(self) -> Ticket | None:
        """The oldest batch on its way whose answer was not read, if there is one."""
        return next((ticket for ticket in self.window if ticket and ticket.connection and not ticket.read), None)

    def note(self, answer: p.Answer) -> None:
        """Add what an answer tells of the time that its batch took."""
        self.queue_us += answer.queue_us
        self.predict_us += answer.predict_us

    @property
    def query(self) -> str:
        """What it is a part of; empty where it is for itself."""
        return self.handle.call.query

    @property
    def digest(self) -> str:
        """What its plan rests on."""
        return self.handle.contract.digest

    @property
    def key(self) -> tuple[str, str]:
        """By which its version is known."""
        return self.query, self.digest

    def place(self, batch: int) -> str:
        """Where a batch of it comes from, for people; batches count from 1."""
        return f"batch {batch}" if self.partition is None else f"partition {self.partition}, batch {batch}"

    def stream(self, schema: pa.Schema) -> StreamKey:
        """What batches of a schema are sent in; the same one again for as long as the schema stays."""
        if self._stream is None or not schema.equals(self._stream.schema):
            pin = self.version if self.query or self.is_held else None
            self._stream = StreamKey(schema, self.by_name, self.handle.call.told(), pin, self.digest)
        return self._stream


@dataclasses.dataclass(eq=False)
class Ticket:
    """A batch under way.

    Attributes:
        waits: Pauses that were made for it.
        history: Of its losses.
        alone: Whether nothing else is to be in the model with it.
        guilt: Why it is not sent any more: it ends its workers.
        has_left: Whether it has left a worker for its silence alone.
        bisection: The search that it is a part of, None for a whole batch.
        read: What was received ahead of its turn: an answer or an error.
    """

    call: Call
    schema: pa.Schema
    payload: pa.Buffer
    rows: int
    what: str
    deadline: float | None
    history: History
    route: Route | None = None
    connection: Connection | None = None
    waits: int = 0
    alone: bool = False
    guilt: SparkModelError | None = None
    has_left: bool = False
    bisection: Bisection | None = None
    read: p.Answer | Exception | None = None

    def key(self) -> str:
        """By which the batch is known again."""
        return key_of(self.call.stream(self.schema).known_by(), self.payload)

    def half(self, payload: pa.Buffer, rows: int, bisection: Bisection) -> Ticket:
        """A part of it, which goes alone."""
        history = self.history.half(rows)
        ticket = Ticket(self.call, self.schema, payload, rows, self.what, self.deadline, history)
        ticket.alone, ticket.bisection = True, bisection
        return ticket

    def budget(self) -> float | None:
        """Seconds left until the deadline, None without one.

        Raises:
            PoolBusyError, DeadlineExceededError: it has passed.
        """
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left > 0:
            return left
        raise self.overdue()

    def ask_s(self) -> float:
        """How many seconds a master may be asked about it; not much beyond the deadline."""
        if self.deadline is None:
            return FATE_S
        return min(FATE_S, max(_LEAST_S, self.deadline + LAST_S - time.monotonic()))

    def overdue(self) -> SparkModelError:
        """The error of a batch whose deadline has passed."""
        if self.waits:
            return PoolBusyError(
                self.what,
                "all workers were busy, or being started or replaced, until the deadline",
                "add workers, or raise timeout_s",
            )
        return DeadlineExceededError(self.what, "no answer came within the deadline", "raise timeout_s, or add workers")


@dataclasses.dataclass(eq=False)
class Search:
    """The search of one batch for a worker.

    Attributes:
        failed: The endpoints that failed since the master was asked last.
        asked: The workers that were asked how quick they are.
        doubts: Whether nothing is known of the worker that was picked last, and there is another one.
        heard: When somebody of the pool answered last, or the search began.
    """

    budget: Callable[[], float | None]
    started: float = dataclasses.field(default_factory=time.monotonic)
    heard: float = dataclasses.field(default_factory=time.monotonic)
    failed: set[Endpoint] = dataclasses.field(default_factory=set)
    asked: set[Endpoint] = dataclasses.field(default_factory=set)
    doubts: bool = False

    def left(self, ready_timeout_s: float) -> float:
        """Seconds that a pool without workers has until it must be ready: until the deadline where there is one."""
        budget_s = self.budget()
        return self.started + ready_timeout_s - time.monotonic() if budget_s is None else budget_s
