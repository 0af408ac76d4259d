# SPDX-License-Identifier: Apache-2.0
"""A pool as its callers see it: sends batches to workers, in order, and to others when a worker dies."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator

import pyarrow as pa

from sparkmodel.errors import (
    AuthenticationError,
    DeadlineExceededError,
    PoolBusyError,
    PoolGoneError,
    PredictTimeoutError,
    ProtocolError,
    SparkModelError,
    WorkerLostError,
    WorkerStoppingError,
)
from sparkmodel.wire import protocol as p
from sparkmodel.wire.connection import Connection, StreamKey
from sparkmodel.wire.handle import Credential, Handle, Limits, PoolRef
from sparkmodel.wire.router import Route, Router

_SILENCE_S = 5.0  # beyond timeout_s: a worker that is silent so long is taken for stalled
_BACKOFF_S = (0.005, 0.5)
_GONE_S = 3.0  # how long neither a worker nor the master may answer before the pool counts as gone
_PIECE_BYTES = 1 << 26


@dataclasses.dataclass
class Ticket:
    """A batch under way, with the limits of the call that sent it."""

    stream: StreamKey
    payload: pa.Buffer
    rows: int
    limits: Limits
    deadline: float | None
    route: Route | None = None
    connection: Connection | None = None
    losses: int = 0
    waits: int = 0


class PoolClient:
    """Talks to one pool. Safe for many threads; connections are kept and shared among them.

    It has sockets and knows the way, and nothing else: limits and options are each call's own.
    """

    def __init__(self, pool: PoolRef, credential: Credential) -> None:
        if credential.tls is not None:
            from sparkmodel.wire.tls import client_context  # Spark's Python workers seldom need it

            client_context(credential.tls)  # fails here: a connection that fails is taken for a lost worker
        self.retries = 0
        self._name, self._credential = pool.name, credential
        self._lock = threading.Lock()
        self._router = Router()
        self._router.update(pool.directory)
        self._pool = pool
        self._what = f"Cannot score with '{pool.name}'"

    def __repr__(self) -> str:
        return f"PoolClient({self._name!r}, {len(self._router.routes)} workers)"

    def predict(
        self,
        batches: Iterable[pa.RecordBatch],
        by_name: bool,
        *,
        caller: Handle,
        timeout_s: float | None = None,
    ) -> Iterator[pa.Array]:
        """The predictions for each batch, in order; up to `max_in_flight` batches are under way at once.

        An empty batch is answered here. A batch over 64 MiB is sent, and answered, in several pieces.

        Args:
            batches: Record batches, all of one schema or not.
            by_name: Whether column names mean anything.
            caller: The handle of the function that is called: its limits hold, whoever this client was made for.
            timeout_s: Deadline of each batch from now on; None waits as long as its worker is alive.
        """
        limits, told = caller.call.limits, caller.call.told()
        window: deque[Ticket | None] = deque()
        stream: StreamKey | None = None
        try:
            for batch in batches:
                if stream is None or not batch.schema.equals(stream.schema):
                    stream = StreamKey(batch.schema, by_name, told)
                for payload, rows in _payloads(batch):
                    window.append(self._submit(stream, payload, rows, limits, timeout_s))
                    if len(window) >= limits.max_in_flight:
                        yield self._collect(window.popleft(), caller)
            while window:
                yield self._collect(window.popleft(), caller)
        finally:  # the caller stopped early, such as for a LIMIT, or one batch failed
            for ticket in window:
                if ticket is not None:
                    self._release(ticket, keep=False)

    def locate(self) -> None:
        """Reach the pool, or say why not; learns the newest endpoints.

        Raises:
            PoolGoneError: neither a worker nor the master answers.
        """
        self._relocate(time.monotonic())

    def learn(self, pool: PoolRef) -> None:
        """Take the way to the pool from a handle, where it is newer than what is known."""
        with self._lock:
            if pool.directory.epoch <= self._pool.directory.epoch:
                return
            self._pool = pool
            dropped = self._router.update(pool.directory)
        _close(dropped)

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            idle = [c for route in self._router.routes.values() for c in route.idle]
            for route in self._router.routes.values():
                route.idle = []
        _close(idle)

    def _submit(
        self, stream: StreamKey, payload: pa.Buffer, rows: int, limits: Limits, timeout_s: float | None
    ) -> Ticket | None:
        if not rows:
            return None
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        ticket = Ticket(stream, payload, rows, limits, deadline)
        self._dispatch(ticket)
        return ticket

    def _dispatch(self, ticket: Ticket) -> None:
        """Put a batch on the wire to some worker; returns when it has left."""
        started = time.monotonic()
        while True:
            budget_s = self._budget(ticket)
            with self._lock:
                route = self._router.pick()
                if route is not None:
                    route.in_flight += 1
            if route is None:
                self._relocate(started, ticket.limits.ready_timeout_s)
                self._wait(ticket)
                continue
            ticket.route = route
            try:
                ticket.connection = self._connect(route)
                limit_s = ticket.limits.timeout_s + _SILENCE_S
                limit_s = limit_s if budget_s is None else min(limit_s, budget_s)
                ticket.connection.open(ticket.stream, limit_s)
                ticket.connection.send(ticket.payload, budget_s, limit_s)
                return
            except (OSError, EOFError, WorkerStoppingError, AuthenticationError):
                # AuthenticationError: another pool's worker has this port now
                self._release(ticket, keep=False, avoid=True)  # it was not scored: no retry is counted
            except BaseException:
                self._release(ticket, keep=False)
                raise

    def _collect(self, ticket: Ticket | None, caller: Handle) -> pa.Array:
        """Wait for the predictions of a batch; a batch that lost its worker goes to another."""
        if ticket is None:
            return pa.nulls(0, caller.contract.result_type)
        while True:
            connection = ticket.connection
            assert connection is not None
            try:
                answer = connection.receive()
                # read before the release: what cannot be read must not leave a connection behind
                result = connection.decode(answer) if answer.status == p.OK else None
                error_ = connection.error(answer) if answer.status != p.OK else None
                if result is not None and len(result) != ticket.rows:
                    raise ProtocolError(self._what, f"{ticket.rows} rows were asked, {len(result)} were answered")
            except TimeoutError:
                self._release(ticket, keep=False, avoid=True)
                self._budget(ticket)
                raise PredictTimeoutError(
                    self._what,
                    f"worker {connection.endpoint[0]}:{connection.endpoint[1]} was silent for "
                    f"{ticket.limits.timeout_s + _SILENCE_S:g} s",
                ) from None
            except (OSError, EOFError) as error:
                self._release(ticket, keep=False, avoid=True)
                self._count_loss(ticket, error)
            except BaseException:
                self._release(ticket, keep=False)
                raise
            else:
                if error_ is None:
                    self._release(ticket, keep=True, answer=answer)
                    return result
                # after a timeout the connection's other end is stuck in the model, and the worker about to end
                ending = isinstance(error_, (WorkerStoppingError, PredictTimeoutError))
                self._release(ticket, keep=not ending, avoid=ending, answer=answer)
                if answer.status != p.RETRY:
                    raise error_
                if not ending:
                    self._wait(ticket)  # full queues: hold the caller back, do not fail it
            self._dispatch(ticket)

    def _count_loss(self, ticket: Ticket, error: Exception) -> None:
        ticket.losses += 1
        self.retries += 1
        if ticket.losses > ticket.limits.max_retries:
            raise WorkerLostError(
                self._what,
                f"a batch was on {ticket.losses} workers that died before they answered ({error})",
                "its rows may crash the model: score them alone, or look into the workers' logs",
            )

    def _connect(self, route: Route) -> Connection:
        while True:
            with self._lock:
                idle = route.idle.pop() if route.idle else None
            if idle is None:
                break
            if not idle.is_stale():
                return idle
            idle.close()
        connection = self._connected(route.endpoint)
        self._learn(connection)
        return connection

    def _connected(self, endpoint: tuple[str, int]) -> Connection:
        return Connection(self._name, endpoint, self._credential.token, self._credential.tls)

    def _learn(self, connection: Connection) -> None:
        with self._lock:
            dropped = self._router.update(connection.directory)
        _close(dropped)

    def _release(self, ticket: Ticket, keep: bool, avoid: bool = False, answer: p.Answer | None = None) -> None:
        """End a batch's stay at a worker; the connection is kept for the next one if it is in order."""
        route, connection = ticket.route, ticket.connection
        ticket.route = ticket.connection = None
        if route is None:
            return
        is_newer = answer is not None and answer.epoch > self._router.directory.epoch
        if connection is not None and keep and is_newer:
            keep = self._refresh(connection)
        drop: list[Connection] = []
        with self._lock:
            route.in_flight -= 1
            if answer is not None:
                route.load = answer.load
            if avoid:
                drop = self._router.avoid(route.endpoint)
            if connection is not None:
                known = self._router.routes.get(route.endpoint) is route
                (route.idle if keep and known else drop).append(connection)
        _close(drop)

    def _refresh(self, connection: Connection) -> bool:
        try:
            connection.locate()
        except (OSError, EOFError, SparkModelError):
            return False
        self._learn(connection)
        return True

    def _relocate(self, started: float, ready_timeout_s: float = math.inf) -> None:
        """No known worker answers: ask the master, then the workers again, for the newest endpoints."""
        directory = None
        refused: AuthenticationError | None = None
        for endpoint in (self._pool.master, *self._router.directory.endpoints):
            try:
                connection = self._connected(endpoint)
            except AuthenticationError as error:
                refused = error
                continue
            except (OSError, EOFError):
                continue
            directory = connection.directory
            connection.close()
            self._learn(connection)
            break
        if directory is None and refused is not None:
            raise self._gone(f"another pool has its address now ({refused.fact})") from refused
        waited = time.monotonic() - started
        if directory is None and waited > _GONE_S:
            raise self._gone("neither its master nor a worker answers")
        if directory is not None and directory.state == "stopped":
            raise self._gone("it was dropped")
        if waited > ready_timeout_s:
            raise self._gone(f"no worker came back within {waited:.0f} s")

    def _gone(self, fact: str) -> PoolGoneError:
        return PoolGoneError(self._what, f"the pool is gone: {fact}", "register the model again with sm.register")

    def _wait(self, ticket: Ticket) -> None:
        low, high = _BACKOFF_S
        ticket.waits += 1
        pause = random.uniform(low, min(high, low * 2 ** min(ticket.waits, 10)))
        budget_s = self._budget(ticket)
        time.sleep(pause if budget_s is None else min(pause, budget_s))

    def _budget(self, ticket: Ticket) -> float | None:
        """Seconds left until the deadline, None without one."""
        if ticket.deadline is None:
            return None
        left = ticket.deadline - time.monotonic()
        if left > 0:
            return left
        if ticket.waits:
            raise PoolBusyError(
                self._what,
                "all workers were busy or being replaced until the deadline",
                "add workers, or raise timeout_s",
            )
        raise DeadlineExceededError(self._what, "no answer came within the deadline", "raise timeout_s, or add workers")


def _payloads(batch: pa.RecordBatch) -> Iterator[tuple[pa.Buffer, int]]:
    """The batch as a message with its rows; a large one in slices of about 64 MiB."""
    payload = p.batch_to_buffer(batch)
    count = min(-(-len(payload) // _PIECE_BYTES), batch.num_rows)
    if count <= 1:
        yield payload, batch.num_rows
        return
    rows = -(-batch.num_rows // count)
    for start in range(0, batch.num_rows, rows):
        piece = batch.slice(start, rows)
        yield p.batch_to_buffer(piece), piece.num_rows


def _close(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()


_clients: dict[tuple[str, Credential], PoolClient] = {}
_clients_lock = threading.Lock()


def _after_fork() -> None:
    """A forked process shares neither its parent's sockets nor a lock that a thread of its parent held."""
    global _clients_lock
    _clients_lock = threading.Lock()
    _clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def client_of(handle: Handle) -> PoolClient:
    """This process's client of a pool: one for all tasks, so that connections outlive batches and tasks.

    All handles of the pool share it, whatever else they say; but a token opens no connection of another's.
    """
    key = handle.pool.pool_id, handle.credential
    with _clients_lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = PoolClient(handle.pool, handle.credential)
    client.learn(handle.pool)
    return client


def forget(pool_id: str) -> None:
    """Close the connections to a pool that was dropped."""
    with _clients_lock:
        keys = [key for key in _clients if key[0] == pool_id]
        forgotten = [_clients.pop(key) for key in keys]
    for client in forgotten:
        client.close()
