# SPDX-License-Identifier: Apache-2.0
"""One connection of the server: reads requests in order, answers them in order."""

from __future__ import annotations

import contextlib
import hmac
import select
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from sparkmodel.errors import (
    AuthenticationError,
    PoolBusyError,
    ProtocolError,
    SparkModelError,
    WorkerStoppingError,
)
from sparkmodel.wire import protocol as p
from sparkmodel.wire.gate import Gate, Stay
from sparkmodel.wire.joiner import Entry, Joiner
from sparkmodel.wire.service import Service, Stream
from sparkmodel.wire.tls import refused_without, speaks_tls

_HELLO_S = 10.0  # a stranger that connects and says nothing must not hold a thread
_LINGER_S = 1.0  # for a client to read the last answer
_RETRIABLE = (PoolBusyError, WorkerStoppingError)
_HUNG_UP: int = getattr(select, "POLLRDHUP", 0)  # Linux only


class Session:
    """Serves one client until it closes the connection or breaks the protocol."""

    def __init__(
        self,
        sock: socket.socket,
        service: Service,
        gate: Gate,
        max_batch_bytes: int,
        joiner: Joiner | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._sock, self._service, self._gate, self._tls = sock, service, gate, tls
        self._is_closed = self._is_greeted = self._is_dismissed = False
        self._max_batch_bytes = max_batch_bytes
        self._joiner = joiner or Joiner(gate)
        self._write_lock = threading.Lock()
        self._pending: int | None = None  # number of the batch that was read and not answered
        self._stay: Stay | None = None
        self._stream: Stream | None = None
        self._what = f"Cannot score with '{service.name}'"

    def run(self) -> None:
        """Serve until the end; every error of the client's is answered where it can still read."""
        try:
            self._greet()
            while True:
                self._handle(p.read_request(self._sock, self._max_batch_bytes, self._what))
        except (EOFError, OSError):
            return  # the client has gone; nothing is owed to it
        except SparkModelError as error:
            if self._is_dismissed:
                with contextlib.suppress(OSError):
                    self._linger()
                return
            if self._pending is None:
                self._pending = 0
            with contextlib.suppress(OSError):
                self._answer_error(self._pending, error)
                self._linger()

    def _linger(self) -> None:
        """Let the client read the last answer: closing with unread input would reset the connection."""
        self._sock.shutdown(socket.SHUT_WR)
        self._sock.settimeout(_LINGER_S)
        until = time.monotonic() + _LINGER_S
        while time.monotonic() < until and self._sock.recv(1 << 16):
            pass

    def close(self) -> None:
        """Close the connection; a thread that waits in it ends."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def dismiss(self) -> bool:
        """Tell the client that nothing more is read, unless a request is read and its answer not sent whole.

        What it has sent behind the last answer was not scored, and now it knows.

        Returns:
            Whether the session is over but for the end of the connection.
        """
        if self._is_dismissed or self._is_closed:
            return True
        if not self._write_lock.acquire(blocking=False):
            return False  # an answer is being sent
        try:
            if self._pending is not None:
                return False
            if self._is_greeted and not self._polls(select.POLLOUT):
                return False  # it has not read yet what it was sent
            self._is_dismissed = True
            if self._is_greeted:
                error = WorkerStoppingError(self._what, "the worker stops; nothing that came later was scored")
                p.send(self._sock, p.pack_answer(self._head(p.RETRY, 0, payload=p.to_json(error.to_dict()))))
        except OSError:
            pass  # the client has gone
        finally:
            self._write_lock.release()
        return True

    def is_gone(self) -> bool:
        """Whether the client closed its side."""
        if self._polls(_HUNG_UP):
            return True  # seen even behind batches that were sent and not read
        if not self._polls(select.POLLIN):
            return False  # nothing has come, the end neither; the socket's timeout would make a peek wait for it
        try:
            return self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def keep_alive(self) -> None:
        """Tell a client that waits for an answer that its batch is not forgotten."""
        seq = self._pending
        # a lock held by a writer means that the client hears from us anyway
        if seq is not None and self._write_lock.acquire(blocking=False):
            try:
                if self._pending == seq and self._polls(select.POLLOUT):
                    p.send(self._sock, p.pack_answer(self._head(p.ALIVE, seq)))
            except OSError:
                pass  # the session's own thread sees it and ends
            finally:
                self._write_lock.release()

    def fail_running(self, limit_s: float, error: SparkModelError) -> None:
        """Answer the batch that has been in the model for longer than `limit_s`."""
        stay, seq = self._stay, self._pending
        if stay is not None and seq is not None and time.monotonic() - stay.started > limit_s:
            self._sock.settimeout(_LINGER_S)  # the watcher must not wait for a client that does not read
            with contextlib.suppress(OSError):
                self._answer_error(seq, error)

    def _polls(self, events: int) -> bool:
        """Whether one of the events holds for the socket now."""
        poll = select.poll()
        try:
            poll.register(self._sock, events)
        except (OSError, ValueError):  # closed
            return True
        return bool(events) and bool(poll.poll(0))

    def _greet(self) -> None:
        self._sock.settimeout(_HELLO_S)
        if self._tls is not None:
            self._secure(self._tls)
        self._send([p.pack_preface()])
        p.read_preface(self._sock, self._what)
        request = p.read_request(self._sock, 0, self._what)
        if request.type != p.HELLO:
            raise ProtocolError(self._what, "the first request is not a hello")
        self._handle(request)
        self._sock.settimeout(None)
        self._is_greeted = True

    def _secure(self, context: ssl.SSLContext) -> None:
        """Shake hands; a client without TLS is told in plain."""
        if not speaks_tls(self._sock):
            self._send([p.pack_preface()])
            raise refused_without(self._what)
        sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        self._sock = sock
        if self._is_closed:  # meanwhile, which closed the socket that this one took the place of
            self.close()
        sock.do_handshake()

    def _handle(self, request: p.Request) -> None:
        with self._write_lock:
            if self._is_dismissed:
                raise WorkerStoppingError(self._what, "the worker has stopped")  # it knows already
            self._pending = request.seq
        try:
            if request.type == p.BATCH:
                self._score(request)
            elif request.type == p.OPEN:
                self._open(request)
            elif request.type == p.PIN:
                self._pin(request)
            else:
                self._hello(request)
        except _RETRIABLE as error:
            if self.is_gone():
                raise EOFError from error  # what it had sent behind this batch is not to be scored either
            self._answer_error(request.seq, error, p.RETRY)
        except (AuthenticationError, ProtocolError):
            raise  # the stream is not to be trusted any more: answered by run, then closed
        except SparkModelError as error:
            self._answer_error(request.seq, error)

    def _hello(self, request: p.Request) -> None:
        hello = p.from_json(request.payload, self._what)
        token = str(hello.get("token", ""))
        if not hmac.compare_digest(token.encode(errors="surrogatepass"), self._service.token.encode()):
            raise AuthenticationError(self._what, "the token is not this pool's", "take the handle from sm.get(name)")
        self._answer_json(request.seq, self._greeting())

    def _greeting(self) -> dict[str, Any]:
        return {"max_batch_bytes": self._max_batch_bytes, **self._service.directory.to_dict()}

    def _pin(self, request: p.Request) -> None:
        arrived = time.monotonic()
        asked = p.from_json(request.payload, self._what)
        query, digest = str(asked.get("query") or ""), str(asked.get("digest") or "")
        budget_s = request.budget_ms / 1000 or float("inf")
        with self._guarded():
            version = self._service.pin(query, digest, arrived + budget_s)
        self._answer_json(request.seq, {"pinned": version, **self._greeting()})

    def _open(self, request: p.Request) -> None:
        options = p.from_json(request.payload, self._what)
        schema = p.schema_from_text(options.pop("schema", None), self._what)
        self._stream = None
        with self._guarded():
            self._stream, result = self._service.open(schema, options)
        self._answer_json(
            request.seq,
            {"schema": p.schema_to_text(result), "version": self._service.version},
        )

    def _score(self, request: p.Request) -> None:
        arrived = time.monotonic()
        if self._stream is None:
            raise ProtocolError(self._what, "a batch came before a stream was opened")
        budget_s = request.budget_ms / 1000 or float("inf")
        batch = p.batch_from_buffer(request.payload, self._stream.schema, self._what)
        entry = Entry(self._what, self._stream, batch, arrived + budget_s, self.is_gone, self._began)
        try:
            with self._guarded(), self._stream.active():
                result = self._joiner.score(entry)
            started = self._stay.started if self._stay else arrived
        finally:
            self._stay = None
        done = time.monotonic()
        payload = p.batch_to_buffer(result)
        head = self._head(p.OK, request.seq, int((started - arrived) * 1e6), int((done - started) * 1e6), payload)
        self._answer(head)

    def _began(self, stay: Stay) -> None:
        self._stay = stay

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """An unforeseen error of the service is answered: it must not pass for an error of the connection."""
        try:
            yield
        except SparkModelError:
            raise
        except BaseException as error:
            raise SparkModelError(
                self._what,
                f"the worker raised {type(error).__name__}: {error}",
                details="".join(traceback.format_exception(error)),
            ) from error

    def _head(self, status: int, seq: int, queue_us: int = 0, predict_us: int = 0, payload: Any = b"") -> p.Answer:
        revision = self._service.directory.revision
        return p.Answer(status, seq, revision, queue_us, predict_us, self._gate.load, payload)

    def _answer_json(self, seq: int, value: dict[str, Any]) -> None:
        self._answer(self._head(p.INFO, seq, payload=p.to_json(value)))

    def _answer_error(self, seq: int, error: SparkModelError, status: int = p.ERROR) -> None:
        payload = p.to_json(error.to_dict())
        if len(payload) > p.MAX_JSON_BYTES:
            parts = error.to_dict()
            parts["details"] = parts["details"][-10_000:]
            payload = p.to_json({key: text[:10_000] for key, text in parts.items()})
        self._answer(self._head(status, seq, payload=payload))

    def _answer(self, answer: p.Answer) -> None:
        with self._write_lock:
            if self._pending != answer.seq:
                return  # the watcher has already answered for a batch that hung
            self._pending = None
            p.send(self._sock, p.pack_answer(answer))

    def _send(self, buffers: list[Any]) -> None:
        with self._write_lock:
            p.send(self._sock, buffers)
