# SPDX-License-Identifier: Apache-2.0
"""What is under way: a call, and each of its batches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import pyarrow as pa

from sparkmodel.errors import DeadlineExceededError, PoolBusyError
from sparkmodel.wire.connection import Connection, StreamKey
from sparkmodel.wire.directory import Endpoint
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.router import Route


@dataclasses.dataclass(eq=False)
class Call:
    """One call of `predict`: what all of its batches share.

    Attributes:
        handle: That of the function that is called.
        by_name: Whether column names mean anything.
        timeout_s: Deadline of each batch from when it is sent, None without one.
        version: What answers it: of a query for good once it is known, else for as long as that version has workers.
    """

    handle: Handle
    by_name: bool
    timeout_s: float | None = None
    version: int | None = None
    _stream: StreamKey | None = None

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

    def stream(self, schema: pa.Schema) -> StreamKey:
        """What batches of a schema are sent in; the same one again for as long as the schema stays."""
        if self._stream is None or not schema.equals(self._stream.schema):
            pin = self.version if self.query else None
            self._stream = StreamKey(schema, self.by_name, self.handle.call.told(), pin, self.digest)
        return self._stream


@dataclasses.dataclass(eq=False)
class Ticket:
    """A batch under way. Of the attributes without a word here, `waits` counts pauses and `losses` lost workers."""

    call: Call
    schema: pa.Schema
    payload: pa.Buffer
    rows: int
    what: str
    deadline: float | None
    route: Route | None = None
    connection: Connection | None = None
    losses: int = 0
    waits: int = 0

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
        if self.waits:
            raise PoolBusyError(
                self.what,
                "all workers were busy, or being started or replaced, until the deadline",
                "add workers, or raise timeout_s",
            )
        raise DeadlineExceededError(self.what, "no answer came within the deadline", "raise timeout_s, or add workers")


@dataclasses.dataclass(eq=False)
class Search:
    """The search of one batch for a worker.

    Attributes:
        failed: The endpoints that failed since the master was asked last.
        heard: When somebody of the pool answered last, or the search began.
    """

    budget: Callable[[], float | None]
    started: float = dataclasses.field(default_factory=time.monotonic)
    heard: float = dataclasses.field(default_factory=time.monotonic)
    failed: set[Endpoint] = dataclasses.field(default_factory=set)

    def left(self, ready_timeout_s: float) -> float:
        """Seconds that a pool without workers has until it must be ready: until the deadline where there is one."""
        budget_s = self.budget()
        return self.started + ready_timeout_s - time.monotonic() if budget_s is None else budget_s
