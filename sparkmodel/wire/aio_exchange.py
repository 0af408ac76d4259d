# SPDX-License-Identifier: Apache-2.0
"""One exchange with a worker, by an event loop: a schema, if it is new, a batch, and the answer."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import time
from collections.abc import Callable
from typing import Any

from sparkmodel.errors import ProtocolError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.connection import Connection, Silence
from sparkmodel.wire.sender import LEAVE_S
from sparkmodel.wire.tickets import Ticket

_QUIET_S = 3.0  # a worker says every second that it lives
_LEAST_S = 0.001


class NotOpenedError(Exception):
    """The worker would not take batches of this schema now; nothing was sent."""


async def score(connection: Connection, ticket: Ticket, what: str, stall_s: float) -> p.Answer:
    """Send a batch to its worker; returns the answer, whatever it is.

    If it raises, or is cancelled, the connection is of no use any more, except after `Silence`.

    Args:
        connection: To it, with nothing under way.
        ticket: Of the batch.
        what: The action for an error.
        stall_s: Longest time without progress amid an answer.

    Raises:
        NotOpenedError: it does not take such batches now.
        Silence: it has said nothing for so long that others are to be asked about it; the answer may still come.
        OSError, EOFError: the connection was lost. `connection.is_sending` says whether amid the sending.
        ProtocolError: what came is no answer to this batch.
    """
    with connection.in_loop() as sock:
        line = _Line(sock, ticket, what, stall_s)
        stream = ticket.call.stream(ticket.schema)
        if not connection.is_open_for(stream):
            await line.send(connection.begin_open(stream))
            answer = await line.answer()
            while answer.status == p.ALIVE:
                answer = await line.answer()
            if answer.status != p.INFO:
                raise NotOpenedError
            connection.end_open(stream, answer)
        ticket.call.result_type, ticket.call.answering = connection.result_type, connection.version
        await line.send(connection.begin_batch(ticket.payload, ticket.budget()))
        connection.has_sent()
        while True:
            try:
                answer = await line.answer()
            except TimeoutError:
                if line.is_amid:
                    raise
                raise Silence from None
            about_all = answer.seq == 0 and answer.status in (p.ERROR, p.RETRY)
            if answer.seq != connection.seq and not about_all:
                raise ProtocolError(what, f"batch {connection.seq} was asked, {answer.seq} was answered")
            if answer.status != p.ALIVE:
                return answer


class _Line:
    """A socket as an event loop reads and writes it.

    It waits for the socket and receives then: were the receiving itself what waits, a limit that ends it could lose
    what has just come. And it takes no byte beyond an answer: the next one's stay where those see them who look whether
    the connection is in order.

    Attributes:
        is_amid: Whether a part of an answer has come.
    """

    def __init__(self, sock: socket.socket, ticket: Ticket, what: str, stall_s: float) -> None:
        self._sock, self._ticket, self._what, self._stall_s = sock, ticket, what, stall_s
        self._loop = asyncio.get_running_loop()
        self.is_amid = False

    async def send(self, parts: list[Any]) -> None:
        rest = memoryview(b"".join(map(bytes, parts)))
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                await self._wait(self._loop.add_writer, self._loop.remove_writer, LEAVE_S)

    async def answer(self) -> p.Answer:
        head = p.answer_head(await self._receive(p.ANSWER.size), self._what)
        payload = await self._receive(head.payload or 0)
        self.is_amid = False
        return dataclasses.replace(head, payload=payload)

    async def _receive(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            try:
                part = self._sock.recv(size)
            except BlockingIOError:
                patience_s = self._stall_s if self.is_amid else _QUIET_S
                await self._wait(self._loop.add_reader, self._loop.remove_reader, patience_s)
                continue
            if not part:
                raise EOFError("the connection was closed")
            self.is_amid, size = True, size - len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _wait(self, add: Callable[..., Any], remove: Callable[..., Any], seconds: float) -> None:
        """Return when the socket is ready; wait so long at most, and not beyond the deadline.

        Raises:
            TimeoutError: it is not.
        """
        if self._ticket.deadline is not None:
            seconds = min(seconds, max(_LEAST_S, self._ticket.deadline - time.monotonic()))
        is_ready: asyncio.Future[bool] = self._loop.create_future()
        add(self._sock, _settle, is_ready, True)
        timer = self._loop.call_later(seconds, _settle, is_ready, False)
        try:
            if not await is_ready:
                raise TimeoutError
        finally:
            timer.cancel()
            remove(self._sock)


def _settle(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)
