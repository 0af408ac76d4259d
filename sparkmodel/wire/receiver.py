# SPDX-License-Identifier: Apache-2.0
"""Waits for the answers to batches, and decides what becomes of those that lost their workers."""

from __future__ import annotations

import contextlib
import dataclasses
import time

import pyarrow as pa

from sparkmodel.errors import PredictTimeoutError, ProtocolError, SparkModelError, WorkerStoppingError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.addresses import spelled
from sparkmodel.wire.connection import Connection, Silence
from sparkmodel.wire.halves import fault, halves, joined
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.locator import Locator
from sparkmodel.wire.losses import Bisection, Step, error_of
from sparkmodel.wire.sender import LEAVE_S, SILENCE_S, Sender
from sparkmodel.wire.tickets import LAST_S, Ticket
from sparkmodel.wire.verdicts import HANG, IN_MODEL, RECEIVED, SILENT, WAITING, Fate, Verdict

_QUIET_S = 3.0  # a worker says every second that it lives: after so long the master is asked whether it does
_GLANCE_S = 0.1


class _Left(Exception):
    """A worker that says nothing is left; nothing is known to be wrong with the batch."""


class Receiver:
    """Collects the answers to what a `Sender` has sent. Safe for many threads.

    Attributes:
        retries: Batches that lost their worker.
    """

    def __init__(self, locator: Locator, sender: Sender, what: str) -> None:
        self.retries = 0
        self._locator, self._sender, self._what = locator, sender, what
        sender.read_ahead = self._read_ahead

    def collect(self, ticket: Ticket) -> pa.Array:
        """The predictions for a batch; it goes to another worker if its own is lost, and alone if it may be at fault.

        Raises:
            SparkModelError: it cannot be scored.
        """
        while ticket.guilt is None:
            result = self._receive(ticket)
            if result is not None:
                return result
            if ticket.guilt is None:
                self._sender.send(ticket)
        on_error = ticket.call.handle.call.on_error or self._limits(ticket).on_error
        if on_error == "fail":
            raise ticket.guilt
        if ticket.rows == 1:
            return fault(ticket.call, ticket.guilt, on_error)
        return self._halve(ticket)

    def _limits(self, ticket: Ticket) -> Limits:
        return self._locator.limits(ticket.call.handle)

    def _halve(self, ticket: Ticket) -> pa.Array:
        """The answers of both halves, each of which is alone."""
        limits = self._limits(ticket)
        bisection = ticket.bisection or Bisection(
            self._what, limits.bisect_calls, limits.bisect_s, started=time.monotonic()
        )
        parts = []
        for payload, rows in halves(ticket.payload, ticket.schema, self._what):
            half = ticket.half(payload, rows, bisection)
            self._sender.send(half)
            parts.append(self.collect(half))
        return joined(parts)

    def _receive(self, ticket: Ticket) -> pa.Array | None:
        """The answer of the worker that has a batch; None if it is to be sent again, or has its guilt."""
        connection = ticket.connection
        assert connection is not None
        try:
            answer = self._await(ticket, connection)
            # read before the release: what cannot be read must not leave a connection behind
            result = connection.decode(answer) if answer.status == p.OK else None
            error_ = connection.error(answer) if answer.status != p.OK else None
            if result is not None and len(result) != ticket.rows:
                raise ProtocolError(self._what, f"{ticket.rows} rows were asked, {len(result)} were answered")
        except _Left:
            self._lose(ticket, connection, Fate(fate=SILENT), None)
        except (OSError, EOFError) as error:
            if ticket.deadline is not None and time.monotonic() >= ticket.deadline:
                raise self._too_late(ticket, connection) from error
            fate = Fate() if _is_silence(error) else None  # who was silent for so long has been asked for
            self._lose(ticket, connection, fate, error)
        except BaseException:
            self._sender.release(ticket, keep=False)
            raise
        else:
            if error_ is None:
                self._sender.release(ticket, keep=True, answer=answer)
                ticket.call.note(answer)
                return result
            self._put_back(ticket, answer, error_)
        return None

    def _await(self, ticket: Ticket, connection: Connection) -> p.Answer:
        """The answer; a worker that is silent meanwhile is left if the master says so, or if nobody knows of it."""
        read, ticket.read = ticket.read, None
        if isinstance(read, Exception):
            raise read
        if read is not None:
            return read
        patience_s = self._limits(ticket).timeout_s + SILENCE_S
        # where another batch has left it since this one was sent, that has waited for both
        is_left = ticket.route is not None and ticket.route.left > connection.sent
        silence_s, fate = _GLANCE_S if is_left else min(_QUIET_S, patience_s), ""
        while True:
            try:
                return connection.receive(silence_s, patience_s)
            except Silence:
                if connection.quiet_s() >= patience_s:
                    where = spelled(*connection.endpoint)
                    raise TimeoutError(f"worker {where} was silent for {patience_s:g} s") from None
                may_leave = not ticket.has_left and self._sender.has_other(ticket)
                is_late = is_left or connection.quiet_s() >= LEAVE_S
                if not (may_leave and is_late) or fate in ("", IN_MODEL):
                    fate = self._fate(ticket, connection).fate
                if fate in (SILENT, WAITING):
                    raise _Left from None
                may_leave = may_leave and fate != IN_MODEL
                if may_leave and (is_left or connection.quiet_s() >= LEAVE_S):
                    ticket.has_left = True
                    raise _Left from None
                left_s = (LEAVE_S if may_leave else patience_s) - connection.quiet_s()
                silence_s = max(_GLANCE_S, min(_QUIET_S, left_s))

    def _read_ahead(self, ticket: Ticket) -> None:
        """Take an answer before its turn, so that the worker can let go of it."""
        assert ticket.connection is not None
        try:
            ticket.read = self._await(ticket, ticket.connection)
        except Exception as error:
            ticket.read = error

    def _put_back(self, ticket: Ticket, answer: p.Answer, error: SparkModelError) -> None:
        """Take a batch from a worker that did not score it.

        Raises:
            SparkModelError: it would not elsewhere either.
        """
        # after a timeout the connection's other end is stuck in the model, and the worker about to end
        has_hung = isinstance(error, PredictTimeoutError)
        ending = has_hung or isinstance(error, WorkerStoppingError)
        self._sender.release(ticket, keep=not ending, avoid=ending, answer=answer)
        if has_hung:
            ticket.history.cause, ticket.guilt = "", error
        elif answer.status != p.RETRY:
            raise error
        elif not ending:
            self._sender.pause(ticket)  # full queues: hold the caller back, do not fail it

    def _lose(self, ticket: Ticket, connection: Connection, fate: Fate | None, error: Exception | None) -> None:
        """A batch has lost its worker: decide what becomes of it.

        Args:
            ticket: Of the batch.
            connection: The lost one.
            fate: What became of it, None to ask.
            error: How it was lost.

        Raises:
            WorkerLostError: it is given up.
        """
        self._sender.release(ticket, keep=False, avoid=True, is_silent=fate is not None)
        self.retries += 1
        ticket.call.lost += 1
        if fate is None:
            fate = self._fate(ticket, connection)
        history, limits = ticket.history, self._limits(ticket)
        step = history.judge(fate, limits.max_retries)
        if step is Step.LOST and fate.fate == RECEIVED:
            raise history.lost_on_receipt(self._what, history.fact) from error
        if step is Step.LOST:
            raise history.lost(self._what, error)
        if step is Step.GUILTY:
            self._condemn(ticket)
        elif step is Step.ALONE:
            ticket.alone = True
        elif fate.fate in (SILENT, WAITING):
            self._drift(ticket, limits)

    def _fate(self, ticket: Ticket, connection: Connection) -> Fate:
        """What the master knows of a batch; it is not waited for much beyond the deadline."""
        return self._locator.fate(connection.endpoint, connection.session, connection.seq, ticket.ask_s())

    def _too_late(self, ticket: Ticket, connection: Connection) -> SparkModelError:
        """The error of a batch whose deadline has passed: the model's, if a call of it took too long meanwhile.

        The deadline of `Model.predict` is as long as a call may take, so both end at the same time.
        """
        took_s, fate, said = time.monotonic() - connection.sent, Fate(), None
        if took_s >= self._limits(ticket).timeout_s - LAST_S:
            fate = self._fate(ticket, connection)
            said = None if fate.cause == HANG else _said(connection)
        self._sender.release(ticket, keep=False, avoid=fate.cause == HANG)
        if isinstance(said, PredictTimeoutError):
            return said
        if fate.cause != HANG:
            return ticket.overdue()
        ticket.history.judge(dataclasses.replace(fate, fate=IN_MODEL), 0)
        if fate.fate == IN_MODEL:  # else its worker lives, and the next try may be faster
            self._condemn(ticket)
        return error_of(self._what, ticket.history.condition(), ticket.history.guilt())

    def _drift(self, ticket: Ticket, limits: Limits) -> None:
        """A batch is sent again uncounted: not for ever, and not faster and faster."""
        history, now = ticket.history, time.monotonic()
        if history.since is None:
            history.since = now
            return
        if ticket.deadline is None and now - history.since > limits.ready_timeout_s:
            raise history.adrift(self._what, now - history.since)
        self._sender.pause(ticket)

    def _condemn(self, ticket: Ticket) -> None:
        """Remember that a batch ends its workers, and have all callers know it."""
        history = ticket.history
        assert history.version is not None
        verdict = Verdict(
            version=history.version,
            key=ticket.key(),
            rows=ticket.rows,
            bytes=len(ticket.payload),
            condition=history.condition(),
            fact=history.guilt(),
        )
        self._sender.condemned.add(verdict)
        self._locator.condemn(verdict, ticket.ask_s())
        ticket.guilt = error_of(self._what, verdict.condition, verdict.fact)


def _said(connection: Connection) -> SparkModelError | None:
    """The error that a worker has just answered, if it has."""
    with contextlib.suppress(OSError, EOFError, SparkModelError):
        if connection.has_more():
            answer = connection.receive(_GLANCE_S, _GLANCE_S)
            return connection.error(answer) if answer.status == p.ERROR else None
    return None


def _is_silence(error: Exception) -> bool:
    return isinstance(error, TimeoutError) and error.errno is None
