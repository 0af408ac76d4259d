# SPDX-License-Identifier: Apache-2.0
"""Frames that nobody should send, to a real server and to a real client: an error or a right answer, nothing else.

What is right: the rows that come back are those that the bytes on the wire say. A bit that flips within a number gives
another number, and no reader can tell; that what arrives is what was sent is TCP's and TLS's to see to.
"""

from __future__ import annotations

import base64
import contextlib
import resource
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from random import Random

import pyarrow as pa

from sparkmodel.errors import SparkModelError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import RESULT, HandleClient, RawClient, ToyService, handle_of

SLOW_S = 20.0  # a case that takes longer is a hang
MOST_BYTES = 400 << 20  # that the process may grow by
_LARGE = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)


def samples() -> list[pa.RecordBatch]:
    """Batches of all kinds of columns."""
    texts = pa.array(["", "a", None, "wähne", "x" * 300])
    return [
        pa.record_batch({"0": pa.array([1.0, -2.5, None, float("nan"), 4.0])}),
        pa.record_batch({"0": pa.array([1, None, 3], pa.int64()), "1": pa.array([True, None, False])}),
        pa.record_batch({"0": texts, "1": pa.array([b"", None, b"\0", b"xyz", b"q"])}),
        pa.record_batch({"0": pa.array([[1.0, 2.0], None, [], [3.0]]), "1": pa.array([None, [["a"], []], [], [None]])}),
        pa.record_batch({"0": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}])}),
        pa.record_batch({"0": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int32()))}),
        pa.record_batch({"0": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2))}),
        pa.record_batch({"0": pa.nulls(3), "1": pa.array([1, 2, 3], pa.decimal128(10, 2))}),
        pa.record_batch({"0": pa.array([1, None], pa.timestamp("us", "UTC")), "1": pa.array([1, 2], pa.date32())}),
        pa.record_batch({"0": texts.cast(pa.large_string())}),
        pa.record_batch({"0": pa.nulls(3)}),
        pa.record_batch({"0": pa.array([[None, None], [None], None], pa.list_(pa.null()))}),
        pa.record_batch({"0": pa.array([[None, None], [None, None]], pa.list_(pa.null(), 2))}),
        pa.record_batch({"0": pa.array([{}, {}, None], pa.struct([]))}),
    ]


def answer_of(batch: pa.RecordBatch) -> pa.Array:
    """The model: of each row a number that says all of it."""
    try:
        rows = batch.to_pylist()
    except (OverflowError, ValueError):  # Python has no such date
        rows = [None] * len(batch)
    return pa.array([float(hash(repr(row)) % (1 << 40)) for row in rows], pa.float64())


def _odd() -> list[bytes]:
    """Messages that Arrow can read, and that are refused here or of another kind."""
    many = pa.record_batch({"0": pa.array([0.0] * 400_000)})
    words = pa.record_batch({"0": pa.array(["a", "b", "a"]).dictionary_encode()})
    found = [b"", b"\xff\xff\xff\xff\0\0\0\0"]
    for batch, codec in ((many, "lz4"), (many, "zstd"), (samples()[2], "zstd"), (words, None)):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
            writer.write_batch(batch)
        found += _messages(sink.getvalue())
    return found


def _messages(stream: pa.Buffer) -> list[bytes]:
    """The messages of an Arrow stream."""
    data, found, at = stream.to_pybytes(), [], 0
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<i", data, at + 4)
        if size == 0:
            break
        message = pa.ipc.read_message(pa.py_buffer(data[at:]))
        body = message.body.size if message.body is not None else 0
        found.append(data[at : at + 8 + size + body])
        at += 8 + size + body
    return found


class _Service(ToyService):
    """A worker with the model that says all of a row."""

    def score(self, batch: pa.RecordBatch) -> pa.Array:
        return answer_of(batch)


class Mutator:
    """Makes something else of bytes, the same for the same seed."""

    def __init__(self, seed: int, others: list[bytes]) -> None:
        self.random, self._others = Random(seed), others

    def payload(self, data: bytes) -> bytes:
        """A message with one or several faults; seldom with none."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 8))):
            data = self.random.choice(_WAYS)(self, data)
        return data

    def header(self, header: struct.Struct, fields: list[int]) -> bytes:
        """A header one of whose fields is another number that fits."""
        data = bytearray(header.pack(*fields))
        if self.random.random() < 0.5:
            at = self.random.randrange(len(data))
            data[at] ^= 1 << self.random.randrange(8)
        else:
            number = self.random.choice(_LARGE) & 0xFFFFFFFFFFFFFFFF
            at = self.random.choice((0, 4, 8, len(data) - 8))
            data[at : at + 8] = struct.pack(">Q", number)
        return bytes(data)

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        changed = bytearray(data)
        # the first bytes say what the others are
        end = len(data) if self.random.random() < 0.4 else min(len(data), 400)
        for _ in range(self.random.choice((1, 1, 2, 5))):
            changed[self.random.randrange(end)] ^= 1 << self.random.randrange(8)
        return bytes(changed)

    def _cut(self, data: bytes) -> bytes:
        at = self.random.randrange(len(data) + 1)
        return data[:at] if self.random.random() < 0.7 else data[at:]

    def _grow(self, data: bytes) -> bytes:
        at = self.random.randrange(len(data) + 1)
        return data[:at] + self.random.randbytes(self.random.choice((1, 4, 8, 64))) + data[at:]

    def _count(self, data: bytes) -> bytes:
        """A number of 4 or 8 bytes becomes another: lengths, offsets, counts."""
        width, form = self.random.choice(((4, "<I"), (8, "<Q")))
        if len(data) < width:
            return data
        changed = bytearray(data)
        at = self.random.randrange((min(len(data), 600) - width) // 4 + 1) * 4
        (now,) = struct.unpack_from(form, changed, at)
        near = (now + self.random.choice((-8, -1, 1, 8)), -now, *_LARGE)
        struct.pack_into(form, changed, at, self.random.choice(near) & ((1 << 8 * width) - 1))
        return bytes(changed)

    def _splice(self, data: bytes) -> bytes:
        other = self.random.choice(self._others)
        here, there = self.random.randrange(len(data) + 1), self.random.randrange(len(other) + 1)
        return data[:here] + other[there:]

    def _other(self, data: bytes) -> bytes:
        return self.random.choice(self._others)


_WAYS = [
    *(Mutator._flip, Mutator._flip, Mutator._flip, Mutator._count, Mutator._count, Mutator._count),
    *(Mutator._cut, Mutator._grow, Mutator._splice, Mutator._other),
]


def _same(found: pa.Array, expected: pa.Array) -> bool:
    """Whether the values are equal, NaN to itself."""
    return bool(repr(found.to_pylist()) == repr(expected.to_pylist()))


def _read(payload: bytes, schema: pa.Schema) -> pa.RecordBatch | None:
    """What Arrow itself makes of a payload; None if it is none that may be read."""
    try:
        return p.batch_from_buffer(payload, schema, "test")
    except SparkModelError:
        return None


def requests(seed: int, numbers: Iterable[int]) -> Iterator[str | None]:
    """Mutated requests to a server, each on a connection that was greeted: a text for each case that fails."""
    batches = samples()
    whole = [p.batch_to_buffer(batch).to_pybytes() for batch in batches]
    others = [*whole, *_odd()]
    service = _Service()
    server = Server(service, "127.0.0.1")
    client: RawClient | None = None
    try:
        for number in numbers:
            mutator = Mutator(seed * 1_000_000 + number, others)
            which = mutator.random.randrange(len(batches))
            try:
                if client is None:
                    client = RawClient(server.endpoint)
                    client.sock.settimeout(SLOW_S)
                    client.hello()
                fault, goes_on = _request(client, mutator, batches[which], whole[which])
            except TimeoutError:
                fault, goes_on = "nothing came back", False
            if not goes_on:
                client.sock.close()
                client = None
            if fault is None and number % 500 == 499:
                fault = _still_right(server)
            yield None if fault is None else f"request {number} of seed {seed}: {fault}"
    finally:
        if client is not None:
            client.sock.close()
        server.close()


def _request(client: RawClient, mutator: Mutator, batch: pa.RecordBatch, whole: bytes) -> tuple[str | None, bool]:
    """Send one; returns what is wrong about the answer, and whether the connection still stands."""
    draw = mutator.random.random()
    if draw < 0.1:  # a schema
        text = base64.b64encode(mutator.payload(batch.schema.serialize().to_pybytes())).decode()
        client.request(p.OPEN, 0, p.to_json({"schema": text, "binding": "position", "pin": None}))
        return _outcome(client, None)
    client.open(batch.schema)
    if draw < 0.15:  # JSON where JSON is wanted
        type_ = mutator.random.choice((p.HELLO, p.OPEN, p.PIN, p.FATE, p.CONDEMN, p.CREDIT, p.PROVE))
        client.request(type_, 0, mutator.payload(b'{"schema": 1, "query": "q", "bytes": 70000, "endpoint": [1, 2]}'))
        return _outcome(client, None)
    if draw < 0.3:  # a header; what follows it may be too short or too long for it
        header = mutator.header(p.REQUEST, [p.BATCH, 0, 7, 0, len(whole)])
        client.say(header, whole)
        client.sock.shutdown(socket.SHUT_WR)
        return _outcome(client, None)[0], False
    payload = mutator.payload(whole)
    client.request(p.BATCH, 7, payload)
    read = _read(payload, batch.schema)
    return _outcome(client, None if read is None else answer_of(read))


def _outcome(client: RawClient, expected: pa.Array | None) -> tuple[str | None, bool]:
    try:
        answer = client.answer()
    except (EOFError, ConnectionError):
        return None, False
    if answer.status == p.OK:
        found = p.batch_from_buffer(answer.payload, RESULT, "test").column(0)
        if expected is not None and not _same(found, expected):
            return f"{found.to_pylist()} came back for {expected.to_pylist()}", False
        return None, expected is not None
    told = p.from_json(answer.payload, "test")
    if answer.status == p.ERROR and told.get("condition") in (None, "INTERNAL_ERROR"):
        return f"an error of ours: {str(told)[:1500]}", False
    return None, answer.status == p.INFO


def _still_right(server: Server) -> str | None:
    """Whether others are served meanwhile."""
    batch = samples()[0]
    with RawClient(server.endpoint) as client:
        client.hello()
        client.open(batch.schema)
        client.request(p.BATCH, 1, p.batch_to_buffer(batch))
        return _outcome(client, answer_of(batch))[0]


class _Mutating:
    """Stands between a client and a server, and changes the first answer to a batch on each connection."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint: tuple[str, int] = self._listener.getsockname()[:2]
        self.mutator: Mutator | None = None
        self.sent = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                for target in (self._up, self._down):
                    threading.Thread(target=target, args=(near, far), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 16):
                far.sendall(data)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def _down(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            near.sendall(p.receive_exactly(far, p.PREFACE.size))
            while True:
                header = bytes(p.receive_exactly(far, p.ANSWER.size))
                fields = list(p.ANSWER.unpack(header))
                payload = bytes(p.receive_exactly(far, fields[-1]))
                mutator, self.mutator = (self.mutator, None) if fields[0] == p.OK else (None, self.mutator)
                if mutator is None:
                    near.sendall(header + payload)
                    continue
                if mutator.random.random() < 0.3:
                    header = mutator.header(p.ANSWER, fields)
                else:
                    payload = mutator.payload(payload)
                    header = p.ANSWER.pack(*fields[:-1], len(payload))
                self.sent = payload
                near.sendall(header + payload)
                break
        for sock in (near, far):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def answers(seed: int, numbers: Iterable[int]) -> Iterator[str | None]:
    """Mutated answers to a client that asks for predictions: a text for each case that fails."""
    batch = pa.record_batch({"0": pa.array([1.0, 2.0, None, 4.0, float("inf")])})
    service = ToyService()
    service.predict = lambda given: pa.array([None if v is None else v * 2 for v in given.column(0).to_pylist()])
    server = Server(service, "127.0.0.1")
    between = _Mutating(server.endpoint)
    right = service.predict(batch)
    whole = p.batch_to_buffer(pa.RecordBatch.from_arrays([right], schema=RESULT)).to_pybytes()
    others = [whole, *_odd()]
    others += [p.batch_to_buffer(sample).to_pybytes() for sample in samples()]
    try:
        for number in numbers:
            between.mutator = Mutator(seed * 1_000_000 + number, others)
            handle = handle_of(between, master=server, pool_id=f"fuzz-{seed}-{number}", max_retries=0)
            client = HandleClient(handle)
            fault = None
            try:
                found = next(iter(client.predict([batch], by_name=False, timeout_s=SLOW_S)))
                read = _read(between.sent, RESULT)
                is_read = read is not None and len(read) == len(batch) and _same(found, read.column(0))
                if not (_same(found, right) or is_read):
                    fault = f"{found.to_pylist()} came of {between.sent!r}"
            except SparkModelError as error:
                if error.condition == "INTERNAL_ERROR":
                    fault = f"{error}\n{error.details}"
            except Exception as error:
                fault = f"{type(error).__name__}: {error}"
            finally:
                client.close()
            yield None if fault is None else f"answer {number} of seed {seed}: {fault}"
    finally:
        between.close()
        server.close()


def grown_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def frames(seed: int, numbers: Iterable[int]) -> Iterator[str | None]:
    """A mutated request and a mutated answer for each number."""
    before, numbers = grown_bytes(), list(numbers)
    for request, answer in zip(requests(seed, numbers), answers(seed, numbers), strict=True):
        grown = grown_bytes() - before
        if grown > MOST_BYTES:
            yield f"the process has grown by {grown >> 20} MiB"
            return
        yield "\n".join(text for text in (request, answer) if text is not None) or None
