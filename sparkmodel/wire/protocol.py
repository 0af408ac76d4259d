# SPDX-License-Identifier: Apache-2.0
"""Frames of the wire protocol, version 3. The page docs/protocol.md is its specification.

Integers are big-endian (network order). Only Arrow IPC messages and JSON cross the wire; nothing is unpickled.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sparkmodel.errors import BatchTooLargeError, ProtocolError, ProtocolVersionError
from sparkmodel.wire.directory import NO_REVISION, Revision
from sparkmodel.wire.messages import refuse_bomb, refuse_views, storage_of

MAGIC = b"SPKM"
VERSION = 3
PREFACE = struct.Struct(">4sHH")  # magic, version, zero

REQUEST = struct.Struct(">BBxxIIxxxxQ")  # type, flags, seq, budget_ms, length
HELLO, OPEN, BATCH, PIN, PROVE, CREDIT, FATE, CONDEMN = range(8)
ALONE = 1  # flag of BATCH: nothing else is to be in the model with it

# status, incarnation, seq, number, queue_us, predict_us, load, length
ANSWER = struct.Struct(">BxHIIIIIQ")
OK, ERROR, RETRY, ALIVE, INFO = 0, 1, 2, 3, 4

MAX_JSON_BYTES = 1 << 20
MAX_BATCH_BYTES = 1 << 28
MAX_ANSWER_BYTES = (1 << 31) - 1  # what the JVM can hold in one piece
KEEPALIVE_S = 1.0
_U32 = 0xFFFFFFFF
Stalled = Callable[[], None]
# EOFError: Arrow's own, for an empty message; a session must not take it for the end of its connection
_ARROW_ERRORS = (ValueError, TypeError, OSError, EOFError, struct.error, pa.ArrowException)


@dataclasses.dataclass(frozen=True)
class Request:
    """One frame from client to worker."""

    type: int
    seq: int
    budget_ms: int
    payload: Any  # bytes-like
    flags: int = 0


@dataclasses.dataclass(frozen=True)
class Answer:
    """One frame from worker to client.

    Attributes:
        status: Which of the five kinds it is.
        seq: Number of the request; 0 may mean the connection as a whole.
        revision: Of the newest directory that the worker knows.
        queue_us: Microseconds that the batch waited.
        predict_us: Microseconds that it was in the model.
        load: The worker's unfinished batches, of all callers.
        payload: Bytes-like.
    """

    status: int
    seq: int
    revision: Revision = NO_REVISION
    queue_us: int = 0
    predict_us: int = 0
    load: int = 0
    payload: Any = b""


def pack_preface(version: int = VERSION) -> bytes:
    """The eight bytes with which each side opens a connection."""
    return PREFACE.pack(MAGIC, version, 0)


def pack_request(type_: int, seq: int, payload: Any, budget_ms: int = 0, flags: int = 0) -> list[Any]:
    """A request as buffers for `sendmsg`; the payload is not copied."""
    return [REQUEST.pack(type_, flags, seq, min(budget_ms, _U32), len(payload)), payload]


def pack_answer(answer: Answer) -> list[Any]:
    """An answer as buffers for `sendmsg`; the payload is not copied."""
    header = ANSWER.pack(
        answer.status,
        answer.revision.incarnation,
        answer.seq,
        answer.revision.number,
        min(answer.queue_us, _U32),
        min(answer.predict_us, _U32),
        answer.load,
        len(answer.payload),
    )
    return [header, answer.payload] if len(answer.payload) else [header]


def read_preface(sock: socket.socket, what: str) -> None:
    """Read and check the other side's first bytes.

    Raises:
        ProtocolError: not our magic.
        ProtocolVersionError: another protocol version.
    """
    check_preface(receive_exactly(sock, PREFACE.size), what)


def check_preface(first: bytes, what: str) -> None:
    """Check the other side's first bytes.

    Raises:
        ProtocolError: not our magic.
        ProtocolVersionError: another protocol version.
    """
    magic, version, _ = PREFACE.unpack(first)
    if magic != MAGIC:
        raise ProtocolError(what, f"the first bytes are {magic!r}, not {MAGIC!r}")
    if version != VERSION:
        raise ProtocolVersionError(
            what,
            f"the other side speaks protocol version {version}, this side {VERSION}",
            "install the same version of sparkmodel on Spark's and on Ray's side",
        )


def read_request(sock: socket.socket, max_bytes: int, what: str, credit: int | None = None) -> Request:
    """Read one request; the size is checked before anything is allocated for it.

    Args:
        sock: Where from.
        max_bytes: Longest batch that is ever taken.
        what: The action for an error.
        credit: Longest batch that may come now; None for any.

    Raises:
        BatchTooLargeError, ProtocolError: it is longer, or no request.
    """
    type_, flags, seq, budget_ms, length = REQUEST.unpack(receive_exactly(sock, REQUEST.size))
    if type_ not in range(CONDEMN + 1):
        raise ProtocolError(what, f"unknown request type {type_}")
    limit = max_bytes if type_ == BATCH else MAX_JSON_BYTES
    if length > limit:
        raise BatchTooLargeError(
            what, f"a message has {length} bytes, the limit is {limit}", "send fewer rows in a batch"
        )
    if type_ == BATCH and credit is not None and length > credit:
        raise ProtocolError(what, f"a batch of {length} bytes came with leave for {credit}", "ask for a credit first")
    return Request(type_, seq, budget_ms, receive_exactly(sock, length), flags)


def read_answer(sock: socket.socket, what: str, stalled: Stalled | None = None) -> Answer:
    """Read one answer; it can be asked for again if nothing of it came before the socket's timeout.

    The size is checked before anything is allocated for it.

    Args:
        sock: The connection.
        what: The action for an error.
        stalled: Called each time that the timeout passes amid the answer; raises to give up. None gives up at once.
    """
    first = sock.recv(ANSWER.size, socket.MSG_WAITALL)
    if not first:
        raise EOFError("the connection was closed")
    rest = ANSWER.size - len(first)
    head = answer_head(first + bytes(receive_exactly(sock, rest, stalled)) if rest else first, what)
    return dataclasses.replace(head, payload=receive_exactly(sock, head.payload, stalled)) if head.payload else head


def answer_head(header: bytes, what: str) -> Answer:
    """What the first bytes of an answer say; in the place of its payload there is the length of that.

    Raises:
        ProtocolError: they are no answer's, or of one that is too long.
    """
    status, incarnation, seq, number, queue_us, predict_us, load, length = ANSWER.unpack(header)
    if status not in (OK, ERROR, RETRY, ALIVE, INFO):
        raise ProtocolError(what, f"unknown answer status {status}")
    limit = MAX_ANSWER_BYTES if status == OK else MAX_JSON_BYTES
    if length > limit:
        raise ProtocolError(what, f"an answer has {length} bytes, the limit is {limit}")
    return Answer(status, seq, Revision(incarnation, number), queue_us, predict_us, load, length or b"")


def send(sock: socket.socket, buffers: list[Any]) -> None:
    """Send all buffers, gathered, without joining them first."""
    views = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
    while views:
        sent = sock.sendmsg(views)
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if sent:
            views[0] = views[0][sent:]


def is_timeout(error: OSError) -> bool:
    """Whether a wait of a socket was too long for its own timeout, be it the kernel's or Python's.

    The end of a connection whose other side answers no more is a TimeoutError too, but has a number.
    """
    return isinstance(error, BlockingIOError) or (isinstance(error, TimeoutError) and error.errno is None)


def receive_exactly(sock: socket.socket, size: int, stalled: Stalled | None = None) -> Any:
    """Read `size` bytes; small ones as bytes, large ones into an aligned Arrow buffer that Arrow reads in place.

    Args:
        sock: The connection.
        size: How many.
        stalled: Called each time that the socket's timeout passes; raises to give up. None gives up at once.

    Raises:
        EOFError: the stream ended first.
    """
    if size <= 4096:
        small = b""
        while size:
            try:
                small = sock.recv(size, socket.MSG_WAITALL)
                break
            except OSError as error:
                _go_on(error, stalled)
        if len(small) == size:
            return small
        target: Any = bytearray(size)
        target[: len(small)] = small
        received = len(small)
        if not small:
            raise EOFError("the connection was closed")
    else:
        target = pa.allocate_buffer(size)
        received = 0
    view = memoryview(target).cast("B")
    while received < size:
        try:
            count = sock.recv_into(view[received:], 0, socket.MSG_WAITALL)
        except OSError as error:
            _go_on(error, stalled)
            continue
        if not count:
            raise EOFError(f"the connection was closed after {received} of {size} bytes")
        received += count
    return target


def _go_on(error: OSError, stalled: Stalled | None) -> None:
    if stalled is None or not is_timeout(error):
        raise error
    stalled()


def to_json(value: dict[str, Any]) -> bytes:
    """Compact JSON of a message."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def from_json(payload: Any, what: str) -> dict[str, Any]:
    """The JSON object in a payload.

    Raises:
        ProtocolError: it is not one.
    """
    try:
        value = json.loads(bytes(payload))
    except (ValueError, RecursionError) as error:  # RecursionError: brackets without end
        raise ProtocolError(what, f"a message is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProtocolError(what, "a message is not a JSON object")
    return value


def schema_to_text(schema: pa.Schema) -> str:
    """An Arrow schema as base64 of its IPC message."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")


def schema_from_text(text: Any, what: str) -> pa.Schema:
    """The Arrow schema that `schema_to_text` wrote; in the place of an extension type there is what it is stored as.

    Raises:
        ProtocolError: it cannot be read.
    """
    try:
        return storage_of(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True))))
    except _ARROW_ERRORS as error:
        raise ProtocolError(what, f"the schema cannot be read: {error}") from error


def batch_to_buffer(batch: pa.RecordBatch) -> pa.Buffer:
    """A record batch as one encapsulated Arrow IPC message, without its schema."""
    return batch.serialize()


def batch_from_buffer(payload: Any, schema: pa.Schema, what: str) -> pa.RecordBatch:
    """The record batch in a payload, checked in full: a corrupt one must not reach native code.

    Raises:
        ProtocolError: it cannot be read, does not hold together, or is one of few bytes that would become many.
    """
    try:
        refuse_bomb(payload)
        batch = pa.ipc.read_record_batch(pa.py_buffer(payload), schema)
        batch.validate(full=True)
        refuse_views(batch)
    except _ARROW_ERRORS as error:
        raise ProtocolError(what, f"a batch cannot be read: {error}") from error
    return batch
