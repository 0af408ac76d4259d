# SPDX-License-Identifier: Apache-2.0
"""One connection of a client to one worker; at most one batch is under way on it.

A caller that wants several batches in flight takes several connections. So a caller never writes while a worker
writes to it, and neither can wait for the other for ever, however large batches and answers are.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import time
from collections.abc import Generator
from typing import Any

import pyarrow as pa

from sparkmodel.errors import BatchTooLargeError, ProtocolError, SparkModelError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.addresses import spelled
from sparkmodel.wire.capabilities import renewed
from sparkmodel.wire.directory import Directory, Endpoint
from sparkmodel.wire.greeting import Step, introduction
from sparkmodel.wire.handle import Credential
from sparkmodel.wire.loop_side import LoopSide
from sparkmodel.wire.pace import Told
from sparkmodel.wire.sockets import tune
from sparkmodel.wire.streams import StreamKey
from sparkmodel.wire.verdicts import Fate, Verdict

_CONNECT_S = 5.0
_SILENCE_S = 5.0  # a master says every second that it lives
_LATE_S = 0.2  # for the rest of an answer that has begun to come when the deadline passes
_WAITS = (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)
_GRACE_S = 0.5  # for an answer that says by name why the time was not enough


class Silence(TimeoutError):
    """Nothing of an answer has come for some seconds; it can be waited for further."""


class Connection(LoopSide):
    """A greeted connection. Not safe for several threads at a time.

    Args:
        name: Of the model, for logs and errors.
        endpoint: Where the other side is.
        credential: What is shown.
        within_s: Longest wait to be connected, and to be greeted, where that is less than usual.

    Attributes:
        told: What the other side has told of its speed last, if it has.
        load: The other side's count of batches, as it said who it is.

    Raises:
        OSError, EOFError: the worker cannot be reached or went away.
        SparkModelError: the worker refused.
    """

    def __init__(
        self, name: str, endpoint: tuple[str, int], credential: Credential, within_s: float | None = None
    ) -> None:
        tls, within_s = credential.tls, min(_CONNECT_S, math.inf if within_s is None else within_s)
        self.endpoint = endpoint
        self.idle_since = time.monotonic()
        self._what = f"Cannot score with '{name}'"
        self._stream: StreamKey | None = None
        self._result_schema: pa.Schema | None = None
        self.version: int | None = None  # that answers in the stream that is open
        self._seq = 0
        self._deadline: float | None = None
        self._timeout_s = _CONNECT_S
        self._limits: dict[int, int] = {}
        self._quiet_since: float | None = None
        self.sent = 0.0  # when the last batch was, by the monotonic clock
        self._stalled = 0
        self.is_sending = self.is_opening = False  # stay so if the connection is lost amid a batch, or a schema
        self._sock = socket.create_connection(endpoint, timeout=within_s)
        try:
            tune(self._sock)
            if tls is None:
                # Python's own timeouts cost a poll for each read and write; the kernel's cost nothing
                self._sock.settimeout(None)
            else:
                from sparkmodel.wire.tls import connect

                self._sock = connect(self._sock, tls, self._what)
            self._has_own_timeouts = tls is not None  # TLS goes on waiting after the kernel's
            self._limit(within_s)
            self._introduce(introduction(credential, name, spelled(*endpoint), self._what), within_s)
            greeting = self._expect_info()
            self.renewed = renewed(credential, greeting.get("credential"))
            self.directory, self.told = Directory.from_dict(greeting), Told.from_dict(greeting)
            self._max_batch_bytes = int(greeting["max_batch_bytes"])
            self._free_bytes = int(greeting.get("free_bytes", self._max_batch_bytes))
            self.session = int(greeting.get("session", 0))
        except (ProtocolError, KeyError, ValueError, TypeError) as error:
            self.close()  # no worker, but some other program that has the port of a dead one
            raise ConnectionError(f"{spelled(*endpoint)} is no worker: {error}") from error
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Connection({spelled(*self.endpoint)})"

    def _introduce(self, steps: Generator[Step, bytes, None], within_s: float) -> None:
        """Prove who we are to who proves it to us, all within one limit: a stranger might speak ever so slowly."""
        until = time.monotonic() + within_s
        said, size = next(steps)
        with contextlib.suppress(StopIteration):
            while True:
                if said:
                    p.send(self._sock, [said])
                data = b""
                while len(data) < size:
                    left = until - time.monotonic()
                    if left <= 0:
                        raise TimeoutError
                    self._limit(left)
                    part = self._sock.recv(size - len(data))
                    if not part:
                        raise EOFError("the connection was closed")
                    data += part
                said, size = steps.send(data)
        self._limit(within_s)

    def locate(self, timeout_s: float = _CONNECT_S) -> Directory:
        """The newest directory that the other side knows; what it tells of its speed is new too."""
        self._limit(timeout_s)
        p.send(self._sock, p.pack_request(p.HELLO, 0, b"{}"))
        reply = self._expect_info()
        try:
            self.directory, self.told = Directory.from_dict(reply), Told.from_dict(reply)
        except (KeyError, ValueError, TypeError) as error:
            raise ProtocolError(self._what, f"a directory cannot be read: {error!r}") from error
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

    def fate(self, endpoint: Endpoint, session: int, seq: int, budget_s: float = _SILENCE_S) -> Fate:
        """Ask a master what became of a batch.

        Args:
            endpoint: Of the worker that was lost.
            session: Number of the connection to it.
            seq: Number of the batch on it.
            budget_s: Longest wait.
        """
        reply = self._ask(p.FATE, {"endpoint": endpoint, "session": session, "seq": seq}, budget_s)
        try:
            self.directory = Directory.from_dict(reply)
            return Fate.from_dict(reply)
        except (KeyError, ValueError, TypeError) as error:
            raise ProtocolError(self._what, f"a master's answer cannot be read: {error!r}") from error

    def condemn(self, verdict: Verdict, budget_s: float = _SILENCE_S) -> None:
        """Have a master tell all callers of a batch that ends its workers."""
        self._ask(p.CONDEMN, verdict.to_dict(), budget_s)

    def _ask(self, type_: int, question: dict[str, Any], budget_s: float) -> dict[str, Any]:
        until = time.monotonic() + budget_s
        self._limit(budget_s)
        p.send(self._sock, p.pack_request(type_, 0, p.to_json(question)))
        return self._expect_info(until)

    def open(self, stream: StreamKey, timeout_s: float) -> None:
        """Make the connection ready for batches of a schema; nothing is sent if it is already."""
        if self._stream is not stream and self._stream != stream:
            self._stream, self.is_opening = None, True
            self._limit(timeout_s)
            p.send(self._sock, p.pack_request(p.OPEN, 0, stream.to_json()))
            reply = self._expect_info()
            self._take_open(reply)
        self._stream, self.is_opening = stream, False

    @property
    def seq(self) -> int:
        """Number of the last batch."""
        return self._seq

    @property
    def result_type(self) -> pa.DataType:
        """Arrow type of one row's answer in the stream that is open."""
        assert self._result_schema is not None
        return self._result_schema.field(0).type

    def send(
        self, payload: Any, budget_s: float | None, timeout_s: float, *, alone: bool = False, waits: bool = True
    ) -> None:
        """Send one batch; the worker drops it if it has not begun it within `budget_s`.

        Args:
            payload: The batch as an Arrow IPC message.
            budget_s: Seconds until the caller's deadline, None without one.
            timeout_s: Longest silence of the worker, and time without progress of the sending.
            waits: Whether to wait until the worker has room for a long batch. A caller with unread answers must not:
                they may be what takes the room.
            alone: Whether nothing else is to be in the model with it.

        Raises:
            PoolBusyError: it has none. Nothing was sent.
        """
        if len(payload) > self._max_batch_bytes:
            raise BatchTooLargeError(
                self._what,
                f"a batch has {len(payload)} bytes, a worker takes {self._max_batch_bytes}",
            )
        self._number(budget_s)
        flags = p.ALONE if alone else 0
        if len(payload) > self._free_bytes:
            self._limit(timeout_s)
            self._ask_leave(len(payload), waits, flags)
        self._limit(timeout_s, socket.SO_SNDTIMEO)
        self.is_sending, self._quiet_since = True, None
        p.send(self._sock, p.pack_request(p.BATCH, self._seq, payload, self._budget_ms(), flags))
        self.has_sent()

    def has_sent(self) -> None:
        """The batch has left."""
        self.is_sending, self.sent = False, time.monotonic()

    @property
    def free_bytes(self) -> int:
        """Longest batch that needs no leave."""
        return self._free_bytes

    def _number(self, budget_s: float | None) -> None:
        """Begin the next batch."""
        self._seq = self._seq % 0xFFFFFFFF + 1  # 0 means the connection as a whole
        self._deadline = None if budget_s is None else time.monotonic() + budget_s

    def _ask_leave(self, size: int, waits: bool, flags: int) -> None:
        """Return when the worker has room for a batch."""
        asked = {"bytes": size} if waits else {"bytes": size, "wait": False}
        p.send(self._sock, p.pack_request(p.CREDIT, self._seq, p.to_json(asked), self._budget_ms(), flags))
        self._expect_info(math.inf if self._deadline is None else self._deadline + _GRACE_S)

    def _budget_ms(self) -> int:
        return 0 if self._deadline is None else max(1, int((self._deadline - time.monotonic()) * 1000))

    def receive(self, silence_s: float, timeout_s: float) -> p.Answer:
        """The answer to the last batch.

        Args:
            silence_s: Seconds without a word of the worker's after which `Silence` is raised.
            timeout_s: Longest time without progress amid an answer.

        Raises:
            Silence: nothing has come; this may be called again.
            TimeoutError: the deadline passed, or the answer stopped in its midst.
        """
        self._timeout_s, self._stalled = timeout_s, 0
        if self._quiet_since is None:
            self._quiet_since = time.monotonic()
        self._limit(self._patience(silence_s), socket.SO_RCVTIMEO)
        while True:
            try:
                answer = p.read_answer(self._sock, self._what, self._stall)
            except OSError as error:
                if not p.is_timeout(error):
                    raise
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    raise TimeoutError from error
                raise Silence from error
            about_all = answer.seq == 0 and answer.status in (p.ERROR, p.RETRY)  # the connection as a whole
            if answer.seq != self._seq and not about_all:
                # Spark cannot see rows in the wrong order, so a wrong number must never pass
                raise ProtocolError(self._what, f"batch {self._seq} was asked, {answer.seq} was answered")
            if answer.status != p.ALIVE:
                self._quiet_since = None
                return answer
            self._quiet_since = time.monotonic()
            if self._deadline is not None:
                if self._deadline <= self._quiet_since and not self.has_more():
                    raise TimeoutError
                self._limit(self._patience(silence_s), socket.SO_RCVTIMEO)

    def quiet_s(self) -> float:
        """Seconds since the worker was last heard while its answer was waited for."""
        return 0.0 if self._quiet_since is None else time.monotonic() - self._quiet_since

    def _patience(self, silence_s: float) -> float:
        """How long to wait for the next word: not beyond the deadline."""
        if self._deadline is None:
            return silence_s
        return min(max(self._deadline - time.monotonic(), _LATE_S), silence_s)

    def _stall(self) -> None:
        """An answer has stopped in its midst, for as long as the socket waits."""
        self._stalled += self._limits[socket.SO_RCVTIMEO]
        is_late = self._deadline is not None and time.monotonic() >= self._deadline
        if is_late or self._stalled > self._timeout_s * 10:
            raise TimeoutError(f"an answer stopped in its midst for {self._stalled / 10:g} s")

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

    def has_more(self) -> bool:
        """Whether more has come, such as the answer behind a sign of life."""
        pending = getattr(self._sock, "pending", None)  # what TLS has read already
        if pending is not None and pending():
            return True
        return bool(select.select([self._sock], [], [], 0)[0])

    def close(self) -> None:
        """Close the connection; the worker drops what it has not begun."""
        with contextlib.suppress(OSError):
            self._sock.close()

    def _limit(self, seconds: float, *waits: int) -> None:
        """Bound the waits of the socket, both by default: in tenths of a second, so that they seldom are set anew."""
        tenths = max(1, math.ceil(seconds * 10))
        if self._has_own_timeouts:
            self._limits = dict.fromkeys(_WAITS, tenths)
            self._sock.settimeout(tenths / 10)
            return
        for wait in waits or _WAITS:
            if tenths != self._limits.get(wait):
                self._limits[wait] = tenths
                value = struct.pack("ll", tenths // 10, tenths % 10 * 100_000)
                self._sock.setsockopt(socket.SOL_SOCKET, wait, value)

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
        self.load = answer.load
        return p.from_json(answer.payload, self._what)
