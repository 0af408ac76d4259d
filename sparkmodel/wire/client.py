# SPDX-License-Identifier: Apache-2.0
"""A pool as its callers see it: sends batches to workers, in order, and to others when a worker dies."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import pyarrow as pa

from sparkmodel.errors import DeadlineExceededError
from sparkmodel.wire.clients import Clients
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.handle import Credential, Handle, PoolRef
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.locator import Locator, close
from sparkmodel.wire.losses import History
from sparkmodel.wire.payloads import payloads
from sparkmodel.wire.receiver import Receiver
from sparkmodel.wire.sender import Sender
from sparkmodel.wire.tickets import Call, Ticket


class PoolClient:
    """Talks to one pool. Safe for many threads; connections are kept and shared among them.

    It has sockets and knows the way, and nothing else: limits and options are the pool's and each call's own.

    Attributes:
        used: When it was called last, by the monotonic clock.
        locator: Knows the way to the pool.
        sender: Puts its batches on the wire.
    """

    def __init__(self, pool: PoolRef, credential: Credential) -> None:
        if credential.tls is not None:
            from sparkmodel.wire.tls import client_context  # Spark's Python workers seldom need it

            client_context(credential.tls)  # fails here: a connection that fails is taken for a lost worker
        self.used = time.monotonic()
        self._name, self._what = pool.name, f"Cannot score with '{pool.name}'"
        self.locator = Locator(pool, credential)
        self._router, self._lock = self.locator.router, self.locator.lock
        self.sender = Sender(self.locator, self._what)
        self._receiver = Receiver(self.locator, self.sender, self._what)

    def __repr__(self) -> str:
        return f"PoolClient({self._name!r}, {len(self._router.routes)} workers)"

    @property
    def retries(self) -> int:
        """Times that a batch lost its worker."""
        return self._receiver.retries

    @property
    def is_dropped(self) -> bool:
        """Whether the pool was found to have ended."""
        return self.locator.is_dropped

    def limits(self, handle: Handle) -> Limits:
        """The limits in force for the calls of a handle."""
        return self.locator.limits(handle)

    def predict(
        self,
        batches: Iterable[pa.RecordBatch],
        by_name: bool,
        *,
        caller: Handle,
        timeout_s: float | None = None,
        partition: int | None = None,
    ) -> Iterator[pa.Array]:
        """The predictions for each batch, in order; up to `max_in_flight` batches are under way at once.

        An empty batch is answered here. A batch over 64 MiB is sent, and answered, in several pieces.

        Args:
            batches: Record batches, all of one schema or not.
            by_name: Whether column names mean anything.
            caller: The handle of the function that is called, whoever this client was made for. All calls of its query
                are answered by one version.
            timeout_s: Deadline of each batch from now on; None waits as long as its worker is alive, and up to
                `ready_timeout_s` where there is none.
            partition: Of the Spark task that calls, for the errors that name it.
        """
        return self.run(Call(caller, by_name, timeout_s, partition), batches)

    def run(self, call: Call, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Array]:
        """The same of a call that was made before, which is told what becomes of it."""
        caller, window = call.handle, call.window
        try:
            for number, batch in enumerate(batches, 1):
                for payload, rows in payloads(batch):
                    window.append(self._submit(call, batch.schema, payload, rows, number))
                    while len(window) >= max(1, self.limits(caller).max_in_flight):
                        yield self._collect(window.popleft(), caller)
            while window:
                yield self._collect(window.popleft(), caller)
        finally:  # the caller stopped early, such as for a LIMIT, or one batch failed
            for ticket in window:
                if ticket is not None:
                    self.sender.release(ticket, keep=False)

    def locate(self) -> None:
        """Reach the pool, or say why not; learns the newest endpoints.

        Raises:
            PoolGoneError: neither a worker nor the master answers.
        """
        self.locator.reach()

    def learn(self, pool: PoolRef) -> None:
        """Take the way to the pool from a handle, where it is newer than what is known."""
        self.locator.learn_pool(pool)

    def is_quiet(self) -> bool:
        """Whether no batch is under way."""
        with self._lock:
            return not any(route.in_flight for route in self._router.routes.values())

    def close(self, idle_since: float = float("inf")) -> None:
        """Close the kept connections that have lain idle since a time of the monotonic clock; all by default."""
        old: list[Connection] = []
        with self._lock:
            for route in self._router.routes.values():
                old += [connection for connection in route.idle if connection.idle_since <= idle_since]
                route.idle = [connection for connection in route.idle if connection.idle_since > idle_since]
        close(old)

    def _submit(self, call: Call, schema: pa.Schema, payload: pa.Buffer, rows: int, number: int) -> Ticket | None:
        if not rows:
            return None
        ticket = self.ticket(call, schema, payload, rows, number)
        self.sender.send(ticket)
        return ticket

    def ticket(self, call: Call, schema: pa.Schema, payload: pa.Buffer, rows: int, number: int = 1) -> Ticket:
        """A batch that is to be sent, with its deadline from now on."""
        self.used = time.monotonic()
        deadline = None if call.timeout_s is None else self.used + call.timeout_s
        if call.until is not None:
            deadline = call.until if deadline is None else min(deadline, call.until)
        return Ticket(call, schema, payload, rows, self._what, deadline, History(rows, call.place(number)))

    def overdue(self) -> DeadlineExceededError:
        """The error of a call that was not answered in time, and nobody knows why."""
        return DeadlineExceededError(
            self._what, "no answer came within the deadline", "raise timeout_s, or add workers"
        )

    def take(self, ticket: Ticket) -> pa.Array:
        """The answer to a batch, from wherever it is: not sent, sent, or lost."""
        if ticket.connection is None and ticket.guilt is None:
            self.sender.send(ticket)
        return self._receiver.collect(ticket)

    def _collect(self, ticket: Ticket | None, caller: Handle) -> pa.Array:
        if ticket is None:
            return pa.nulls(0, caller.contract.result_type)
        return self._receiver.collect(ticket)


_clients = Clients(PoolClient)
client_of = _clients.of
forget = _clients.forget
