# SPDX-License-Identifier: Apache-2.0
"""One connection of a client to one worker; at most one batch is under way on it.

A caller that wants several batches in flight takes several connections. So a caller never writes while a worker
writes to it, and neither can wait for the other for ever, however large batches and answers are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import select
import socket
import struct
import time
from typing import Any

import pyarrow as pa

from sparkmodel.errors import BatchTooLargeError, ProtocolError, SparkModelError
from sparkmodel.version import __version__
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.handle import NO_OPTIONS, CallOptions

_CONNECT_S = 5.0
_SILENCE_S = 5.0  # a master says every second that it lives
_LATE_S = 0.2  # for the rest of an answer that has begun to come when the deadline passes
_GRACE_S = 0.5  # for an answer that says by name why the time was not enough


@dataclasses.dataclass(frozen=True)
class StreamKey:
    """What a stream is opened with; two calls with equal keys can share one opened connection.

    Attributes:
        schema: Of the batches.
        by_name: Whether column names mean anything.
        call: What was asked for, and the query that the batches belong to.
        pin: The version that the query is held to, None where any may answer.
        digest: What the caller's plan rests on; empty where nothing is known.
    """

    schema: pa.Schema
    by_name: bool
    call: CallOptions = NO_OPTIONS
    pin: int | None = None
    digest: str = ""

    def to_json(self) -> bytes:
        """The payload of an open request."""
        told = {"digest": self.digest, "query": self.call.query}
        return p.to_json(
            {
                **self.call.to_dict(),
                **{key: value for key, value in told.items() if value},
                "schema": p.schema_to_text(self.schema),
                "binding": "name" if self.by_name else "position",
                "pin": self.pin,
            }
        )


class Connection:
    """A greeted connection. Not safe for several threads at a time.

    Raises:
        OSError, EOFError: the worker cannot be reached or went away.
        SparkModelError: the worker refused.
    """

    def __init__(self, name: str, endpoint: tuple[str, int], token: str, tls: str | None = None) -> None:
        self.endpoint = endpoint
        self.idle_since = time.monotonic()
        self._what = f"Cannot score with '{name}'"
        self._stream: StreamKey | None = None
        self._result_schema: pa.Schema | None = None
        self._seq = 0
        self._deadline: float | None = None
        self._timeout_s = _CONNECT_S
        self._limit_tenths = 0
        self._sock = socket.create_connection(endpoint, timeout=_CONNECT_S)
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is None:
                # Python's own timeouts cost a poll for each read and write; the kernel's cost nothing
                self._sock.settimeout(None)
            else:
                from sparkmodel.wire.tls import connect

                self._sock = connect(self._sock, tls, self._what)
            self._has_own_timeouts = tls is not None  # TLS goes on waiting after the kernel's
            self._limit(_CONNECT_S)
            hello = p.to_json({"token": token, "model": name, "client": f"python/{__version__}"})
            self._hello = p.pack_request(p.HELLO, 0, hello)
            p.send(self._sock, [p.pack_preface(), *self._hello])
            p.read_preface(self._sock, self._what)
            greeting = self._expect_info()
            self.directory = Directory.from_dict(greeting)
            self._max_batch_bytes = int(greeting["max_batch_bytes"])
        except (ProtocolError, KeyError, ValueError, TypeError) as error:
            self.close()  # no worker, but some other program that has the port of a dead one
            raise ConnectionError(f"{endpoint[0]}:{endpoint[1]} is no worker: {error}") from error
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Connection({self.endpoint[0]}:{self.endpoint[1]})"

    def locate(self) -> Directory:
        """The newest directory that the other side knows."""
        self._limit(_CONNECT_S)
        p.send(self._sock, self._hello)
        self.directory = Directory.from_dict(self._expect_info())
        return self.directory

    def pin(self, query: str, digest: str, budget_s: float) -> int:
        """Ask a master for the version that a query is held to; it may have to start its workers for this.

        Args:
            query: What is held; empty only asks for a version that may be called.
            digest: Of the plan that calls.
            budget_s: Longest wait; the master is silent for some seconds at most meanwhile.

        Raises:
            PoolGoneError: the other side is no master.
            SparkModelError: there is no such version, or it did not start in time.
        """
        until = time.monotonic() + budget_s + _GRACE_S
        asked = p.to_json({"query": query, "digest": digest})
        self._limit(_SILENCE_S)
        p.send(self._sock, p.pack_request(p.PIN, 0, asked, max(1, int(budget_s * 1000))))
        reply = self._expect_info(until)
        try:
            self.directory = Directory.from_dict(reply)
            return int(reply["pinned"])
        except (KeyError, ValueError, TypeError) as error:
            raise ProtocolError(self._what, f"a master's answer cannot be read: {error!r}") from error

    def open(self, stream: StreamKey, timeout_s: float) -> None:
        """Make the connection ready for batches of a schema; nothing is sent if it is already."""
        if self._stream is not stream and self._stream != stream:
            self._stream = None
            self._limit(timeout_s)
            p.send(self._sock, p.pack_request(p.OPEN, 0, stream.to_json()))
            reply = self._expect_info()
            self._result_schema = p.schema_from_text(reply["schema"], self._what)
        self._stream = stream

    def send(self, payload: Any, budget_s: float | None, timeout_s: float) -> None:
        """Send one batch; the worker drops it if it has not begun it within `budget_s`.

        Args:
            payload: The batch as an Arrow IPC message.
            budget_s: Seconds until the caller's deadline, None without one.
            timeout_s: Longest silence of the worker, here and in `receive`.
        """
        if len(payload) > self._max_batch_bytes:
            raise BatchTooLargeError(
                self._what,
                f"a batch has {len(payload)} bytes, a worker takes {self._max_batch_bytes}",
            )
        self._seq = self._seq % 0xFFFFFFFF + 1  # 0 means the connection as a whole
        self._timeout_s = timeout_s
        self._deadline = None if budget_s is None else time.monotonic() + budget_s
        self._limit(timeout_s)
        budget_ms = 0 if budget_s is None else max(1, int(budget_s * 1000))
        p.send(self._sock, p.pack_request(p.BATCH, self._seq, payload, budget_ms))

    def receive(self) -> p.Answer:
        """The answer to the last batch.

        Raises:
            TimeoutError: the worker was silent too long, or the deadline passed.
        """
        while True:
            try:
                answer = p.read_answer(self._sock, self._what)
            except BlockingIOError as error:
                raise TimeoutError from error
            about_all = answer.seq == 0 and answer.status in (p.ERROR, p.RETRY)  # the connection as a whole
            if answer.seq != self._seq and not about_all:
                # Spark cannot see rows in the wrong order, so a wrong number must never pass
                raise ProtocolError(self._what, f"batch {self._seq} was asked, {answer.seq} was answered")
            if answer.status != p.ALIVE:
                return answer
            if self._deadline is not None:
                left = self._deadline - time.monotonic()
                if left <= 0 and not self._has_more():
                    raise TimeoutError
                self._limit(min(max(left, _LATE_S), self._timeout_s))

    def decode(self, answer: p.Answer) -> pa.Array:
        """The predictions in an answer."""
        assert self._result_schema is not None
        return p.batch_from_buffer(answer.payload, self._result_schema, self._what).column(0)

    def error(self, answer: p.Answer) -> SparkModelError:
        """The error in an answer."""
        return SparkModelError.from_dict(p.from_json(answer.payload, self._what))

    def is_stale(self) -> bool:
        """Whether the worker closed it, or broke the silence, while it lay idle."""
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _has_more(self) -> bool:
        """Whether more has come, such as the answer behind a sign of life."""
        pending = getattr(self._sock, "pending", None)  # what TLS has read already
        if pending is not None and pending():
            return True
        return bool(select.select([self._sock], [], [], 0)[0])

    def close(self) -> None:
        """Close the connection; the worker drops what it has not begun."""
        with contextlib.suppress(OSError):
            self._sock.close()

    def _limit(self, seconds: float) -> None:
        """Bound each wait of the socket: in tenths of a second, so that it seldom has to be set anew."""
        tenths = max(1, math.ceil(seconds * 10))
        if tenths != self._limit_tenths:
            self._limit_tenths = tenths
            if self._has_own_timeouts:
                self._sock.settimeout(tenths / 10)
                return
            value = struct.pack("ll", tenths // 10, tenths % 10 * 100_000)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def _expect_info(self, until: float = math.inf) -> dict[str, Any]:
        answer = p.read_answer(self._sock, self._what)
        while answer.status == p.ALIVE:  # the other side is slow to answer, and says so
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if left < _SILENCE_S:
                self._limit(left)
            answer = p.read_answer(self._sock, self._what)
        if answer.status in (p.ERROR, p.RETRY):
            raise self.error(answer)
        if answer.status != p.INFO:
            raise ProtocolError(self._what, f"expected an info answer, got status {answer.status}")
        return p.from_json(answer.payload, self._what)
