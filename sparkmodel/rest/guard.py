# SPDX-License-Identifier: Apache-2.0
"""Connections that are slow on purpose, or say too much before they ask: uvicorn has no limits for these."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sparkmodel.rest.settings import Settings

_HEAD_BYTES, _HEADERS = 1 << 15, 100
_LINGER_S = 5.0  # for what is left of a body that was answered before it was read
_REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large"}
_IDLE, _HEAD, _BODY = range(3)


class Guarded(HttpToolsProtocol):
    """HTTP on one connection, with limits on the size of a request's head, and on the time of head and body.

    Attributes:
        head_s: Seconds that the head of a request may take.
        body_s: Seconds that its body may take, and a second more for each `slowest` bytes of it.
        slowest: Bytes per second.
    """

    head_s, body_s, slowest = 10.0, 30.0, 1 << 14

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._phase, self._size, self._count, self._begun = _HEAD, 0, 0, 0.0
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(self.head_s, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._phase == _IDLE:
            self._stop()
            self._phase, self._size, self._count = _HEAD, 0, 0
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._phase == _HEAD:
            self._size += len(data)  # a header is told of once it has come whole, however long it is
            self._check_head()
        if self._timer is None and self._phase != _IDLE:
            self._timer = self.loop.call_later(self.head_s if self._phase == _HEAD else self.body_s, self._late)
        elif self._timer is None and self.timeout_keep_alive_task is None and self.cycle.response_complete:
            # it was answered before its body had come, and uvicorn counts from then
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._size, self._count = _HEAD, 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:  # what trails a body comes here too
        super().on_header(name, value)
        self._size += len(name) + len(value) if self._phase == _HEAD else 0
        self._count += 1
        self._check_head()

    def on_headers_complete(self) -> None:
        self._stop()
        if not self.transport.is_closing():
            self._phase, self._size, self._begun = _BODY, 0, self.loop.time()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            self._size += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop()
        self._phase = _IDLE
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._phase == _BODY and not self.transport.is_closing():
            self._stop()
            self._timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _check_head(self) -> None:
        if (self._count > _HEADERS or (self._phase == _HEAD and self._size > _HEAD_BYTES)) and not (
            self.transport.is_closing()
        ):
            self._refuse(431)

    def _late(self) -> None:
        self._timer = None
        if self._phase == _BODY:
            left = self._begun + self.body_s + self._size / self.slowest - self.loop.time()
            if left > 0 or self.flow.read_paused:  # or it is we who do not read
                self._timer = self.loop.call_later(max(left, 1.0), self._late)
                return
        if self._phase == _HEAD and not self._size:  # it never said anything
            self.transport.close()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        is_answered = self._phase == _BODY and self.cycle.response_started
        if not is_answered:
            text = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(text.encode("ascii"))
        self.transport.close()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def guarded(settings: Settings) -> type[Any]:
    """The protocol, with the times of a gateway."""
    return type("Guarded", (Guarded,), {"head_s": settings.head_s, "body_s": settings.body_s})
