# SPDX-License-Identifier: Apache-2.0
"""Puts batches on the wire to workers, and takes them off again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from sparkmodel.errors import (
    AuthenticationError,
    PoolBusyError,
    ProtocolError,
    VersionRetiredError,
    WorkerStoppingError,
    WrongVersionError,
)
from sparkmodel.wire import protocol as p
from sparkmodel.wire.condemned import Condemned
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.locator import Locator, close
from sparkmodel.wire.losses import error_of
from sparkmodel.wire.pins import Pins
from sparkmodel.wire.router import MOST_ASKED, Route
from sparkmodel.wire.tickets import Call, Search, Ticket
from sparkmodel.wire.verdicts import RECEIVED

SILENCE_S = 5.0  # beyond timeout_s: a worker that is silent so long is lost
LEAVE_S = 6.0  # a worker that is silent so long is left where there is another one
_OF_OPEN = 0  # the number of a request that is no batch
_BACKOFF_S = (0.005, 0.5)


class Sender:
    """Chooses a worker for a batch, connects, sends. Safe for many threads.

    Attributes:
        condemned: The batches that are not sent.
        read_ahead: Receives the answer to a batch before its turn, for who collects it later.
    """

    read_ahead: Callable[[Ticket], None]

    def __init__(self, locator: Locator, what: str) -> None:
        self.condemned = Condemned()
        self._locator, self._what = locator, what
        self._router, self._lock = locator.router, locator.lock
        self._pins = Pins()

    def send(self, ticket: Ticket) -> None:
        """Put a batch on the wire to some worker; returns when it has left, or is known to end its workers.

        Raises:
            WorkerLostError: it ends its workers while it is sent.
        """
        call, search = ticket.call, Search(ticket.budget)
        if call.query and call.version is None:
            call.version = self._pinned(ticket, search)
        while True:
            budget_s = ticket.budget()
            route = self.pick(ticket, search)
            if route is None:
                self._check_is_there(call)
                named = self._ask(ticket, search)
                if named is not None and not call.query and not call.is_held:
                    call.version = named  # no new query may have it, but a plan of before has no other
                self.pause(ticket)
                continue
            ticket.route = route
            try:
                if self.is_condemned(ticket):
                    self.release(ticket, keep=False)
                    return
                if self._put(ticket, route, search, budget_s):
                    return
                self.release(ticket, keep=True)  # another one may be quicker
            except PoolBusyError:  # for now there is no room for its bytes; nothing was sent
                self.release(ticket, keep=True)
                unread = call.unread()
                if unread is None:
                    self.pause(ticket)
                else:
                    self.read_ahead(unread)  # its answer may be what takes the room
            except (OSError, EOFError, WorkerStoppingError, AuthenticationError) as error:
                # AuthenticationError: another pool's worker has this port now
                search.failed.add(route.endpoint)
                self.failed(ticket, error)
            except WrongVersionError:  # nor was this; where the versions are now is known there, or by the master
                search.failed.add(route.endpoint)
                assert ticket.connection is not None
                self.release(ticket, keep=self._locator.refresh(ticket.connection))
            except BaseException:
                self.release(ticket, keep=False)
                raise

    def failed(self, ticket: Ticket, error: Exception) -> None:
        """A batch did not get to the worker that it was put on the wire to: it was not scored.

        Raises:
            WorkerLostError: it ends its workers while it is sent.
        """
        connection = ticket.connection
        self.release(ticket, keep=False, avoid=True, is_silent=_is_wait(error))
        if connection is not None and not _is_wait(error) and self._is_receipt(ticket, connection):
            self._count_receipt(ticket, error)

    def has_other(self, ticket: Ticket) -> bool:
        """Whether another worker than the one that has a batch may get it."""
        route, version = ticket.route, ticket.call.version
        if route is None or version is None:
            return False
        with self._lock:
            return self._router.has_other(route.endpoint, version)

    def release(
        self,
        ticket: Ticket,
        keep: bool,
        avoid: bool = False,
        answer: p.Answer | None = None,
        is_silent: bool = False,
    ) -> None:
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
                self._router.learn(route, answer.load, answer.predict_us / 1e6 if answer.status == p.OK else None)
            if avoid:
                drop = self._router.avoid(route.endpoint, is_silent=is_silent)
            if connection is not None:
                connection.idle_since = time.monotonic()
                known = self._router.routes.get(route.endpoint) is route
                (route.idle if keep and known else drop).append(connection)
        close(drop)

    def give_up(self, ticket: Ticket) -> None:
        """Nobody waits any more for a batch that another thread is busy with: that one ends as at the deadline."""
        with self._lock:  # a release meanwhile has no chance to give the connection to somebody else
            ticket.deadline = time.monotonic()
            if ticket.connection is not None:
                ticket.connection.shut()

    def pause(self, ticket: Ticket) -> None:
        """Wait a little, longer each time."""
        low, high = _BACKOFF_S
        ticket.waits += 1
        pause = random.uniform(low, min(high, low * 2 ** min(ticket.waits, 10)))
        budget_s = ticket.budget()
        time.sleep(pause if budget_s is None else min(pause, budget_s))

    def _put(self, ticket: Ticket, route: Route, search: Search, budget_s: float | None) -> bool:
        """Whether the batch has left; if it has not, its worker has told something that others are to be seen for."""
        idle = self.idle(route)
        connection = ticket.connection = idle or self._locator.connect(route.endpoint)
        limit_s = self._locator.limits(ticket.call.handle).timeout_s + SILENCE_S
        if self.has_other(ticket):
            limit_s = min(limit_s, LEAVE_S)
        limit_s = limit_s if budget_s is None else min(limit_s, budget_s)
        if self._thinks_again(route, connection, search, idle is None, limit_s):
            return False
        connection.open(ticket.call.stream(ticket.schema), limit_s)
        ticket.call.result_type, ticket.call.answering = connection.result_type, connection.version
        if ticket.bisection is not None:
            ticket.bisection.take(time.monotonic())
        waits = ticket.call.unread() is None
        connection.send(ticket.payload, budget_s, limit_s, waits=waits, alone=ticket.alone)
        return True

    def _thinks_again(self, route: Route, connection: Connection, search: Search, is_new: bool, limit_s: float) -> bool:
        """Hear how quick a worker is of which nothing is known; whether to choose again with that.

        A greeting tells it anyway. On a kept connection it is asked where it was slow before: it may be no more, and
        another client may have found out.
        """
        may_ask = search.doubts and len(search.asked) < MOST_ASKED
        if not is_new:
            if not may_ask or not self._router.is_worth_asking(route):
                return False
            try:
                self._locator.learn(connection.locate(limit_s))
            except ProtocolError as error:
                raise ConnectionError(f"{connection} says what cannot be read: {error}") from error
        with self._lock:
            is_worth_it = self._router.hear(route, connection.load, connection.told)
        if not (may_ask and is_worth_it):
            return False
        search.asked.add(route.endpoint)
        return True

    def is_condemned(self, ticket: Ticket) -> bool:
        """Whether a batch is known to end workers of the version that would get it; says why in its guilt."""
        version = ticket.call.version
        told = self._router.directory.condemned
        verdict = self.condemned.find(told, version, ticket.rows, len(ticket.payload), ticket.key)
        ticket.history.given_to(version)
        if verdict is None:
            return False
        ticket.history.cause = ""
        ticket.guilt = error_of(self._what, verdict.condition, verdict.fact)
        return True

    def _is_receipt(self, ticket: Ticket, connection: Connection) -> bool:
        """Whether the end of a connection may be the doing of what was sent on it: a batch, or its schema."""
        if not connection.is_opening:
            return connection.is_sending
        fate = self._locator.fate(connection.endpoint, connection.session, _OF_OPEN, ticket.ask_s())
        return fate.fate == RECEIVED

    def _count_receipt(self, ticket: Ticket, error: Exception) -> None:
        """A connection was lost amid the sending: what is sent may be what ends its receivers."""
        history = ticket.history
        history.receipts += 1
        if history.receipts > self._locator.limits(ticket.call.handle).max_retries:
            raise history.lost_on_receipt(self._what, error)

    def _check_is_there(self, call: Call) -> None:
        """See that the version that a call is held to is served at all.

        Raises:
            VersionRetiredError: it is not.
        """
        there = [served.version for served in self._locator.directory.served]
        if call.is_held and there and call.version not in there:
            raise VersionRetiredError(
                self._what, f"version {call.version} was asked for, those that have workers are {there}", "call again"
            )

    def pick(self, ticket: Ticket, search: Search) -> Route | None:
        """The worker for a batch; None if no version that may answer it has one."""
        call = ticket.call

        def pick(version: int) -> Route | None:
            if ticket.alone:
                return self._router.last(version, search.failed)
            return self._router.pick(version, search.failed, search.asked)

        with self._lock:
            route = None if call.version is None else pick(call.version)
            if route is None and not call.query and not call.is_held:
                call.version = self._router.choose(call.digest, search.failed)
                route = None if call.version is None else pick(call.version)
            if route is not None:
                assert call.version is not None
                search.doubts = not ticket.alone and self._router.is_doubtful(route, call.version, search.failed)
                route.in_flight += 1
            return route

    def _pinned(self, ticket: Ticket, search: Search) -> int:
        """The version that the query of a batch is held to; the master settles it once for all who ask."""

        def ask() -> int:
            while (version := self._ask(ticket, search)) is None:
                self.pause(ticket)
            return version

        return self._pins.find(ticket.call.key, ask, lambda: ticket.budget() or _BACKOFF_S[1])

    def _ask(self, ticket: Ticket, search: Search) -> int | None:
        """Have the master wake or heal the pool; the version that it names, None if it is not reached now."""
        call: Call = ticket.call
        ready_timeout_s = self._locator.limits(call.handle).ready_timeout_s
        version = self._locator.ask(call.query, call.digest, search, ready_timeout_s)
        if call.query and None not in (version, call.version) and version != call.version:
            raise VersionRetiredError(
                self._what,
                f"'{call.query}' was begun by version {call.version}, which is not known any more: "
                f"version {version} would go on",
                "run the query again",
            )
        return version

    def idle(self, route: Route) -> Connection | None:
        """A kept connection that is in order."""
        while True:
            with self._lock:
                idle = route.idle.pop() if route.idle else None
            if idle is None or not idle.is_stale():
                return idle
            idle.close()


def _is_wait(error: BaseException) -> bool:
    """Whether the other side said nothing, rather than that it is no more."""
    return isinstance(error, OSError) and (isinstance(error, TimeoutError) or p.is_timeout(error))
