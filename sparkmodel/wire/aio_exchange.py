# SPDX-License-Identifier: Apache-2.0
"""One exchange with a worker, by an event loop: a schema, if it is new, a batch, and the answer."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import time
from types import TracebackType
from typing import Any

from sparkmodel.errors import ProtocolError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.connection import Connection, Silence
from sparkmodel.wire.tickets import Ticket

_QUIET_S = 3.0  # a worker says every second that it lives
_LEAST_S = 0.001
_READ = 1 << 16


class NotOpenedError(Exception):
    """The worker would not take batches of this schema now; nothing was sent."""


async def score(connection: Connection, ticket: Ticket, what: str) -> tuple[p.Answer, bool]:
    """Send a batch to its worker; returns the answer, whatever it is, and whether the connection is good for more.

    If it raises, or is cancelled, amid an answer, the connection is of no use any more.

    Args:
        connection: To it, with nothing under way.
        ticket: Of the batch.
        what: The action for an error.

    Raises:
        NotOpenedError: it does not take such batches now.
        Silence: it has said nothing for so long that others are to be asked about it; the answer may still come.
        OSError, EOFError: the connection was lost. `connection.is_sending` says whether amid the sending.
        ProtocolError: what came is no answer to this batch.
    """
    with connection.in_loop() as sock:
        peer, stream = _Peer(sock, ticket, what), ticket.call.stream(ticket.schema)
        if not connection.is_open_for(stream):
            await peer.send(connection.begin_open(stream))
            answer = await peer.answer()
            while answer.status == p.ALIVE:
                answer = await peer.answer()
            if answer.status != p.INFO:
                raise NotOpenedError
            connection.end_open(stream, answer)
        ticket.call.result_type, ticket.call.answering = connection.result_type, connection.version
        await peer.send(connection.begin_batch(ticket.payload, ticket.budget()))
        connection.has_sent()
        while True:
            try:
                answer = await peer.answer()
            except TimeoutError:
                if peer.is_amid:
                    raise
                raise Silence from None
            about_all = answer.seq == 0 and answer.status in (p.ERROR, p.RETRY)
            if answer.seq != connection.seq and not about_all:
                raise ProtocolError(what, f"batch {connection.seq} was asked, {answer.seq} was answered")
            if answer.status != p.ALIVE:
                return answer, not peer.is_amid  # more is the word of a worker that stops


def _patience(ticket: Ticket) -> float:
    """How long to wait for a word: not beyond the deadline."""
    if ticket.deadline is None:
        return _QUIET_S
    return min(_QUIET_S, max(_LEAST_S, ticket.deadline - time.monotonic()))


class _Peer:
    """The other side: what it says comes in pieces, most of them whole answers."""

    def __init__(self, sock: socket.socket, ticket: Ticket, what: str) -> None:
        self._sock, self._ticket, self._what = sock, ticket, what
        self._loop = asyncio.get_running_loop()
        self._rest = bytearray()

    @property
    def is_amid(self) -> bool:
        """Whether more has come than whole answers."""
        return bool(self._rest)

    async def send(self, frame: list[Any]) -> None:
        """Send a request; a peer that does not read is waited for no longer than one that does not speak."""
        with _Limit(_patience(self._ticket)):
            await self._loop.sock_sendall(self._sock, b"".join(map(bytes, frame)))

    async def answer(self) -> p.Answer:
        """What it says next.

        Raises:
            TimeoutError: it has said nothing for some seconds, or since the deadline.
        """
        with _Limit(_patience(self._ticket)):
            await self._have(p.ANSWER.size)
            head = p.answer_head(bytes(self._rest[: p.ANSWER.size]), self._what)
            end = p.ANSWER.size + (head.payload or 0)
            await self._have(end)
        payload = bytes(self._rest[p.ANSWER.size : end])
        del self._rest[:end]
        return dataclasses.replace(head, payload=payload)

    async def _have(self, size: int) -> None:
        while len(self._rest) < size:
            try:
                part = self._sock.recv(_READ)
            except BlockingIOError:
                # not `sock_recv`: what it has taken from the kernel is lost if it is cancelled in the same moment
                await self._is_readable()
                continue
            if not part:
                raise EOFError("the connection was closed")
            self._rest += part

    async def _is_readable(self) -> None:
        readable: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            if not readable.done():
                readable.set_result(None)

        self._loop.add_reader(self._sock, wake)
        try:
            await readable
        finally:
            self._loop.remove_reader(self._sock)


class _Limit:
    """Bounds the wait of what is within, as `asyncio.timeout` does from Python 3.11 on."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._is_over = seconds, False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        if self._is_over and kind is asyncio.CancelledError:
            uncancel = getattr(self._task, "uncancel", None)
            if uncancel is None or not uncancel():  # else somebody else has cancelled it too
                raise TimeoutError from None
