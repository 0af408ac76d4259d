# SPDX-License-Identifier: Apache-2.0
"""One connection of the server: reads requests in order, answers them in order."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import pyarrow as pa

from sparkmodel.errors import (
    AuthenticationError,
    PoolBusyError,
    ProtocolError,
    SparkModelError,
    WorkerStoppingError,
)
from sparkmodel.wire import protocol as p
from sparkmodel.wire.credits import FREE_BYTES
from sparkmodel.wire.greeter import Met
from sparkmodel.wire.joining import Entry, Joiner
from sparkmodel.wire.room import Room
from sparkmodel.wire.service import Service, Stream
from sparkmodel.wire.sockets import tune
from sparkmodel.wire.turns import Visit
from sparkmodel.wire.verdicts import Verdict

_LINGER_S = 1.0  # for a client to read the last answer
_GRANTED_S = 5.0  # without a byte from a client that has leave to send
_RETRIABLE = (PoolBusyError, WorkerStoppingError)
_ELSEWHERE = {error.condition for error in _RETRIABLE}
_HUNG_UP: int = getattr(select, "POLLRDHUP", 0)  # Linux only


Receiving = Callable[[int, int], contextlib.AbstractContextManager[None]]


def _nobody_looks(_session: int, _seq: int) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


class Session:
    """Serves one client that has proved who it is, until it closes the connection or breaks the protocol."""

    def __init__(
        self,
        met: Met,
        service: Service,
        room: Room,
        max_batch_bytes: int,
        joiner: Joiner | None = None,
        number: int = 1,
        receiving: Receiving | None = None,
    ) -> None:
        self._sock, self._renewed = met
        tune(self._sock, is_client=False)
        self._service, self._room = service, room
        self._is_closed = self._is_dismissed = False
        self._max_batch_bytes = max_batch_bytes
        self._joiner = joiner or Joiner(room)
        self.number = number  # by which a batch of it is known when the worker has ended
        self._receiving = receiving or _nobody_looks
        self._write_lock = threading.Lock()
        self._pending: int | None = 0  # number of what was read and not answered: of its proof
        self._stream: Stream | None = None
        self._caller: Hashable = number
        self._granted: Visit | None = None  # the batch that has leave to be sent
        self._credit = 0  # bytes that the room keeps for it, or for the one that is scored
        self._what = f"Cannot score with '{service.name}'"

    def run(self) -> None:
        """Serve until the end; every error of the client's is answered where it can still read."""
        try:
            self._greet()
            while True:
                self._handle(self._read())
        except (EOFError, OSError):
            return  # the client has gone; nothing is owed to it
        except SparkModelError as error:
            self._give_back()
            if self._is_dismissed:
                with contextlib.suppress(OSError):
                    self._linger()
                return
            if self._pending is None:
                self._pending = 0
            with contextlib.suppress(OSError):
                self._answer_error(self._pending, error)
                self._linger()
        finally:
            self._give_back()

    def _read(self) -> p.Request:
        if self._granted is None:
            return p.read_request(self._sock, self._max_batch_bytes, self._what, FREE_BYTES)
        self._sock.settimeout(_GRANTED_S)  # what is kept for it is not there for others
        request = p.read_request(self._sock, self._max_batch_bytes, self._what, self._credit)
        self._sock.settimeout(None)
        return request

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
            if not self._polls(select.POLLOUT):
                return False  # it has not read yet what it was sent
            self._is_dismissed = True
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

    def fail(self, seq: int, error: SparkModelError) -> None:
        """Answer a batch in place of the thread that is in the model with it."""
        if self._polls(select.POLLOUT):  # the watcher must not wait for a client that does not read
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
        renewed = self._renewed
        told = {} if renewed is None else {"credential": {"claims": renewed.claims, "key": renewed.key}}
        with self._guarded():
            greeting = self._greeting()
        self._answer_json(0, {**greeting, **told})

    def _handle(self, request: p.Request) -> None:
        with self._write_lock:
            if self._is_dismissed:
                raise WorkerStoppingError(self._what, "the worker has stopped")  # it knows already
            self._pending = request.seq
        try:
            if request.type == p.BATCH:
                self._score(request)
            elif request.type == p.CREDIT:
                self._grant(request)
            elif request.type == p.OPEN:
                self._open(request)
            elif request.type in _ASKED_OF_MASTERS:
                _ASKED_OF_MASTERS[request.type](self, request)
            elif request.type == p.HELLO:
                self._answer_json(request.seq, self._greeting())
            else:
                raise ProtocolError(self._what, f"request type {request.type} is not served here")
        except _RETRIABLE as error:
            if self.is_gone():
                raise EOFError from error  # what it had sent behind this batch is not to be scored either
            self._answer_error(request.seq, error, p.RETRY)
        except (AuthenticationError, ProtocolError):
            raise  # the stream is not to be trusted any more: answered by run, then closed
        except SparkModelError as error:
            self._answer_error(request.seq, error)

    def _greeting(self) -> dict[str, Any]:
        limits = {"max_batch_bytes": self._max_batch_bytes, "free_bytes": FREE_BYTES}
        pace = self._room.pace.told()
        told = {} if pace is None else pace.to_dict()
        return {**limits, **told, "session": self.number, **self._service.directory.to_dict()}

    def _pin(self, request: p.Request) -> None:
        arrived = time.monotonic()
        asked = p.from_json(request.payload, self._what)
        query, digest = str(asked.get("query") or ""), str(asked.get("digest") or "")
        budget_s = request.budget_ms / 1000 or float("inf")
        with self._guarded():
            version = self._service.pin(query, digest, arrived + budget_s)
        self._answer_json(request.seq, {"pinned": version, **self._greeting()})

    def _fate(self, request: p.Request) -> None:
        asked = p.from_json(request.payload, self._what)
        with self._guarded():
            try:
                (host, port), session, seq = asked["endpoint"], int(asked["session"]), int(asked["seq"])
                endpoint = str(host), int(port)
            except (KeyError, TypeError, ValueError) as error:
                raise ProtocolError(self._what, f"a question cannot be read: {error!r}") from error
            fate = self._service.fate(endpoint, session, seq)
        self._answer_json(request.seq, {**fate.to_dict(), **self._greeting()})

    def _condemn(self, request: p.Request) -> None:
        with self._guarded():
            try:
                verdict = Verdict.from_dict(p.from_json(request.payload, self._what))
            except (KeyError, TypeError, ValueError) as error:
                raise ProtocolError(self._what, f"a verdict cannot be read: {error!r}") from error
            self._service.condemn(verdict)
        self._answer_json(request.seq, self._greeting())

    def _open(self, request: p.Request) -> None:
        with self._receiving(self.number, request.seq):
            options = p.from_json(request.payload, self._what)
            schema = p.schema_from_text(options.pop("schema", None), self._what)
            self._stream = None
            self._caller = str(options.get("query") or "") or self.number
            with self._guarded():
                self._stream, result = self._service.open(schema, options)
        self._answer_json(
            request.seq,
            {"schema": p.schema_to_text(result), "version": self._service.version},
        )

    def _grant(self, request: p.Request) -> None:
        """Give leave for a long batch to be sent: it has its place in the room from now on."""
        self._give_back()
        asked = p.from_json(request.payload, self._what)
        size, waits = asked.get("bytes"), asked.get("wait", True)
        if not isinstance(size, int) or not 0 < size <= self._max_batch_bytes or not isinstance(waits, bool):
            raise ProtocolError(self._what, f"leave was asked for {size!r} bytes, {self._max_batch_bytes} may be sent")
        visit = self._visit(request)
        visit.is_here = False
        try:
            self._room.arrive(visit)
        except SparkModelError as error:
            self._room.refuse(error.condition)
            raise
        try:
            self._room.credits.take(visit, size, waits)
        except BaseException:
            self._room.go(visit)
            raise
        self._granted, self._credit = visit, size
        self._answer_json(request.seq, {"granted": size})

    def _give_back(self) -> None:
        """The room keeps nothing for this client any more."""
        granted, credit, self._granted, self._credit = self._granted, self._credit, None, 0
        if granted is not None:
            self._room.go(granted)
        if credit:
            self._room.credits.give_back(credit)

    def _visit(self, request: p.Request) -> Visit:
        seq, budget_s = request.seq, request.budget_ms / 1000 or float("inf")
        return Visit(
            self._what,
            self._caller,
            (self.number, seq),
            time.monotonic() + budget_s,
            self.is_gone,
            lambda error: self.fail(seq, error),
            is_alone=bool(request.flags & p.ALONE),
        )

    def _score(self, request: p.Request) -> None:
        arrived = time.monotonic()
        stream = self._stream
        if stream is None:
            raise ProtocolError(self._what, "a batch came before a stream was opened")
        visit, granted = self._visit(request), self._granted
        self._granted = None
        batch: pa.RecordBatch | None = None
        result: pa.RecordBatch | None = None
        condition = ""
        try:
            try:
                if granted is None:
                    self._room.arrive(visit)
                else:
                    self._room.take_over(granted, visit)
                with self._receiving(self.number, request.seq):
                    batch = p.batch_from_buffer(request.payload, stream.schema, self._what)
                with self._guarded(), stream.active():
                    result = self._joiner.score(Entry(visit, stream, batch))
            finally:
                self._room.go(visit)
                inside_s = time.monotonic() - arrived - visit.waited_s
            self._room.pace.add(inside_s)
            payload = p.batch_to_buffer(result)
            self._answer(self._head(p.OK, request.seq, int(visit.waited_s * 1e6), int(inside_s * 1e6), payload))
        except SparkModelError as error:
            condition = error.condition
            raise
        finally:
            self._give_back()
            if batch is None or condition in _ELSEWHERE:
                self._room.refuse(condition)
            else:
                stream.told(batch, result, condition, visit.waited_s, inside_s)

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
        return p.Answer(status, seq, revision, queue_us, predict_us, self._room.load, payload)

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


_ASKED_OF_MASTERS: dict[int, Callable[[Session, p.Request], None]] = {
    p.PIN: Session._pin,
    p.FATE: Session._fate,
    p.CONDEMN: Session._condemn,
}
