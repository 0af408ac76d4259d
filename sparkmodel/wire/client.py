# SPDX-License-Identifier: Apache-2.0
"""A pool as its callers see it: sends batches to workers, in order, and to others when a worker dies."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator

import pyarrow as pa

from sparkmodel.errors import (
    AuthenticationError,
    PredictTimeoutError,
    ProtocolError,
    SparkModelError,
    VersionRetiredError,
    WorkerLostError,
    WorkerStoppingError,
    WrongVersionError,
)
from sparkmodel.wire import protocol as p
from sparkmodel.wire.clients import Clients
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.handle import Credential, Handle, PoolRef
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.locator import Locator, close
from sparkmodel.wire.payloads import payloads
from sparkmodel.wire.pins import Pins
from sparkmodel.wire.router import Route
from sparkmodel.wire.tickets import Call, Search, Ticket

_SILENCE_S = 5.0  # beyond timeout_s: a worker that is silent so long is taken for stalled
_BACKOFF_S = (0.005, 0.5)


class PoolClient:
    """Talks to one pool. Safe for many threads; connections are kept and shared among them.

    It has sockets and knows the way, and nothing else: limits and options are the pool's and each call's own.

    Attributes:
        retries: Batches that lost their worker.
        used: When it was called last, by the monotonic clock.
    """

    def __init__(self, pool: PoolRef, credential: Credential) -> None:
        if credential.tls is not None:
            from sparkmodel.wire.tls import client_context  # Spark's Python workers seldom need it

            client_context(credential.tls)  # fails here: a connection that fails is taken for a lost worker
        self.retries = 0
        self.used = time.monotonic()
        self._name, self._what = pool.name, f"Cannot score with '{pool.name}'"
        self._locator = Locator(pool, credential)
        self._router, self._lock = self._locator.router, self._locator.lock
        self._pins = Pins()

    def __repr__(self) -> str:
        return f"PoolClient({self._name!r}, {len(self._router.routes)} workers)"

    @property
    def is_dropped(self) -> bool:
        """Whether the pool was found to have ended."""
        return self._locator.is_dropped

    def limits(self, handle: Handle) -> Limits:
        """The limits in force for the calls of a handle."""
        return self._locator.limits(handle)

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
            caller: The handle of the function that is called, whoever this client was made for. All calls of its query
                are answered by one version.
            timeout_s: Deadline of each batch from now on; None waits as long as its worker is alive, and up to
                `ready_timeout_s` where there is none.
        """
        call = Call(caller, by_name, timeout_s)
        window: deque[Ticket | None] = deque()
        try:
            for batch in batches:
                for payload, rows in payloads(batch):
                    window.append(self._submit(call, batch.schema, payload, rows))
                    while len(window) >= max(1, self.limits(caller).max_in_flight):
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
        self._locator.reach()

    def learn(self, pool: PoolRef) -> None:
        """Take the way to the pool from a handle, where it is newer than what is known."""
        self._locator.learn_pool(pool)

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

    def _submit(self, call: Call, schema: pa.Schema, payload: pa.Buffer, rows: int) -> Ticket | None:
        if not rows:
            return None
        self.used = time.monotonic()
        deadline = None if call.timeout_s is None else self.used + call.timeout_s
        ticket = Ticket(call, schema, payload, rows, self._what, deadline)
        self._dispatch(ticket)
        return ticket

    def _dispatch(self, ticket: Ticket) -> None:
        """Put a batch on the wire to some worker; returns when it has left."""
        call, search = ticket.call, Search(ticket.budget)
        if call.query and call.version is None:
            call.version = self._pinned(ticket, search)
        while True:
            budget_s = ticket.budget()
            route = self._pick(call, search)
            if route is None:
                named = self._ask(ticket, search)
                if named is not None and not call.query:
                    call.version = named  # no new query may have it, but a plan of before has no other
                self._wait(ticket)
                continue
            ticket.route = route
            try:
                connection = ticket.connection = self._connect(route)
                limit_s = self.limits(call.handle).timeout_s + _SILENCE_S
                limit_s = limit_s if budget_s is None else min(limit_s, budget_s)
                connection.open(call.stream(ticket.schema), limit_s)
                connection.send(ticket.payload, budget_s, limit_s)
                return
            except (OSError, EOFError, WorkerStoppingError, AuthenticationError):
                # AuthenticationError: another pool's worker has this port now
                search.failed.add(route.endpoint)
                self._release(ticket, keep=False, avoid=True)  # it was not scored: no retry is counted
            except WrongVersionError:  # nor was this; where the versions are now is known there, or by the master
                search.failed.add(route.endpoint)
                self._release(ticket, keep=self._locator.refresh(connection))
            except BaseException:
                self._release(ticket, keep=False)
                raise

    def _pick(self, call: Call, search: Search) -> Route | None:
        """The worker for the next batch of a call; None if no version that may answer it has one."""
        with self._lock:
            route = None if call.version is None else self._router.pick(call.version, search.failed)
            if route is None and not call.query:
                call.version = self._router.choose(call.digest, search.failed)
                route = None if call.version is None else self._router.pick(call.version, search.failed)
            if route is not None:
                route.in_flight += 1
            return route

    def _pinned(self, ticket: Ticket, search: Search) -> int:
        """The version that the query of a batch is held to; the master settles it once for all who ask."""

        def ask() -> int:
            while (version := self._ask(ticket, search)) is None:
                self._wait(ticket)
            return version

        return self._pins.find(ticket.call.key, ask, lambda: ticket.budget() or _BACKOFF_S[1])

    def _ask(self, ticket: Ticket, search: Search) -> int | None:
        """Have the master wake or heal the pool; the version that it names, None if it is not reached now."""
        call = ticket.call
        ready_timeout_s = self.limits(call.handle).ready_timeout_s
        version = self._locator.ask(call.query, call.digest, search, ready_timeout_s)
        if call.query and None not in (version, call.version) and version != call.version:
            raise VersionRetiredError(
                self._what,
                f"'{call.query}' was begun by version {call.version}, which is not known any more: "
                f"version {version} would go on",
                "run the query again",
            )
        return version

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
                ticket.budget()
                raise PredictTimeoutError(
                    self._what,
                    f"worker {connection.endpoint[0]}:{connection.endpoint[1]} was silent for "
                    f"{self.limits(caller).timeout_s + _SILENCE_S:g} s",
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
                self._put_back(ticket, answer, error_)
            self._dispatch(ticket)

    def _put_back(self, ticket: Ticket, answer: p.Answer, error: SparkModelError) -> None:
        """Take a batch from a worker that did not score it.

        Raises:
            SparkModelError: it would not elsewhere either.
        """
        # after a timeout the connection's other end is stuck in the model, and the worker about to end
        ending = isinstance(error, (WorkerStoppingError, PredictTimeoutError))
        self._release(ticket, keep=not ending, avoid=ending, answer=answer)
        if answer.status != p.RETRY:
            raise error
        if not ending:
            self._wait(ticket)  # full queues: hold the caller back, do not fail it

    def _count_loss(self, ticket: Ticket, error: Exception) -> None:
        ticket.losses += 1
        self.retries += 1
        if ticket.losses > self.limits(ticket.call.handle).max_retries:
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
                return self._locator.connect(route.endpoint)
            if not idle.is_stale():
                return idle
            idle.close()

    def _release(self, ticket: Ticket, keep: bool, avoid: bool = False, answer: p.Answer | None = None) -> None:
        """End a batch's stay at a worker; the connection is kept for the next one if it is in order."""
        route, connection = ticket.route, ticket.connection
        ticket.route = ticket.connection = None
        if route is None:
            return
        is_newer = answer is not None and answer.revision > self._router.directory.revision
        if connection is not None and keep and is_newer:
            keep = self._locator.refresh(connection)
        drop: list[Connection] = []
        with self._lock:
            route.in_flight -= 1
            if answer is not None:
                route.load = answer.load
            if avoid:
                drop = self._router.avoid(route.endpoint)
            if connection is not None:
                connection.idle_since = time.monotonic()
                known = self._router.routes.get(route.endpoint) is route
                (route.idle if keep and known else drop).append(connection)
        close(drop)

    def _wait(self, ticket: Ticket) -> None:
        low, high = _BACKOFF_S
        ticket.waits += 1
        pause = random.uniform(low, min(high, low * 2 ** min(ticket.waits, 10)))
        budget_s = ticket.budget()
        time.sleep(pause if budget_s is None else min(pause, budget_s))


_clients = Clients(PoolClient)
client_of = _clients.of
forget = _clients.forget
