# SPDX-License-Identifier: Apache-2.0
"""What an event loop does with a connection in the place of what blocks: it sends and reads, the connection counts."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from sparkmodel.wire import protocol as p
from sparkmodel.wire.streams import StreamKey


class LoopSide:
    """A part of `Connection`: the same steps as its `open` and `send`, without the socket."""

    _sock: socket.socket
    _what: str
    _stream: StreamKey | None
    _result_schema: pa.Schema | None
    _seq: int
    version: int | None
    _quiet_since: float | None
    _has_own_timeouts: bool
    is_sending: bool
    is_opening: bool

    @property
    def has_tls(self) -> bool:
        """Whether it is encrypted: then no event loop can have its socket."""
        return self._has_own_timeouts

    @contextlib.contextmanager
    def in_loop(self) -> Iterator[socket.socket]:
        """The socket as an event loop wants it, for as long as that has the connection."""
        self._sock.setblocking(False)
        try:
            yield self._sock
        finally:
            if self._sock.fileno() >= 0:
                self._sock.setblocking(True)

    def shut(self) -> None:
        """End it for both sides; a thread that waits for its answer wakes up. Whoever has it closes it."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # TLS' own would take the thread's state away

    def is_open_for(self, stream: StreamKey) -> bool:
        """Whether batches of a schema may be sent."""
        return self._stream is stream or self._stream == stream

    def begin_open(self, stream: StreamKey) -> list[Any]:
        """What is to be sent to make the connection ready; `end_open` takes the answer."""
        self._stream, self.is_opening = None, True
        return p.pack_request(p.OPEN, 0, stream.to_json())

    def end_open(self, stream: StreamKey, answer: p.Answer) -> None:
        """Take the answer of an open request."""
        self._take_open(p.from_json(answer.payload, self._what))
        self._stream, self.is_opening = stream, False

    def _take_open(self, reply: dict[str, Any]) -> None:
        """What a worker says of a stream that was opened."""
        self._result_schema = p.schema_from_text(reply["schema"], self._what)
        self.version = None if reply.get("version") is None else int(reply["version"])

    def begin_batch(self, payload: Any, budget_s: float | None) -> list[Any]:
        """What is to be sent for a batch that needs no leave; `has_sent` says that it has."""
        self._number(budget_s)
        self.is_sending, self._quiet_since = True, None
        return p.pack_request(p.BATCH, self._seq, payload, self._budget_ms())

    def _number(self, budget_s: float | None) -> None:
        raise NotImplementedError

    def _budget_ms(self) -> int:
        raise NotImplementedError
