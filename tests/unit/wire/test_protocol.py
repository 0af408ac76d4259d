# SPDX-License-Identifier: Apache-2.0
"""Frames, JSON and Arrow messages over a real pair of sockets."""

from __future__ import annotations

import base64
import random
import socket
import struct
import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from sparkmodel.errors import BatchTooLargeError, ProtocolError
from sparkmodel.wire import protocol as p
from tests.unit.wire.toys import numbers


def test_headers_have_the_sizes_that_the_page_states() -> None:
    assert (p.PREFACE.size, p.REQUEST.size, p.ANSWER.size) == (8, 24, 32)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 3_000_000])
def test_a_payload_of_any_size_arrives_whole_although_it_comes_in_drops(size: int) -> None:
    data = random.Random(size).randbytes(size)
    near, far = socket.socketpair()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    frame = b"".join(p.pack_request(p.BATCH, 5, data, 70))

    def drip() -> None:
        with far:
            for start in range(0, len(frame), 50_001):
                far.sendall(frame[start : start + 50_001])

    thread = threading.Thread(target=drip)
    thread.start()
    with near:
        request = p.read_request(near, size, "test")
    thread.join()
    assert (request.type, request.seq, request.budget_ms, bytes(request.payload)) == (p.BATCH, 5, 70, data)


@pytest.mark.parametrize("timeout_s", [None, 20.0])
def test_all_buffers_are_sent_although_the_kernel_takes_them_piecemeal(timeout_s: float | None) -> None:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    near.settimeout(timeout_s)
    parts = [b"head", b"", pa.py_buffer(bytes(range(256)) * 8000), bytearray(b"tail"), memoryview(b"end")]

    def send() -> None:
        with near:
            p.send(near, parts)

    thread = threading.Thread(target=send)
    thread.start()
    received = bytearray()
    with far:
        while chunk := far.recv(10_007):
            received += chunk
    thread.join()
    assert bytes(received) == b"".join(bytes(part) for part in parts)


@pytest.mark.parametrize("keep", [0, 1, 23, 24, 30])
def test_a_stream_that_ends_within_a_frame_is_an_end_and_not_a_frame(keep: int) -> None:
    frame = b"".join(p.pack_request(p.BATCH, 1, b"x" * 9000))
    near, far = socket.socketpair()
    with far:
        far.sendall(frame[:keep])
    with near, pytest.raises(EOFError):
        p.read_request(near, 1 << 20, "test")


def test_a_large_payload_lies_where_arrow_reads_it_without_a_copy() -> None:
    batch = numbers(*range(10_000))
    near, far = socket.socketpair()
    thread = threading.Thread(target=p.send, args=(far, p.pack_request(p.BATCH, 1, p.batch_to_buffer(batch))))
    thread.start()
    with near, far:
        payload = p.read_request(near, 1 << 20, "test").payload
        thread.join()
    assert payload.address % 64 == 0
    column = p.batch_from_buffer(payload, batch.schema, "test").column(0)
    assert payload.address <= column.buffers()[1].address < payload.address + payload.size
    assert column.equals(batch.column(0))


@pytest.mark.parametrize(("type_", "limit"), [(p.HELLO, p.MAX_JSON_BYTES), (p.OPEN, p.MAX_JSON_BYTES), (p.BATCH, 5000)])
def test_a_message_over_its_limit_is_refused_by_its_header_alone(type_: int, limit: int) -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(p.REQUEST.pack(type_, 0, 1, 0, limit + 1))  # and no payload: the size alone must do
        with pytest.raises(BatchTooLargeError, match=rf"{limit + 1} bytes, the limit is {limit}"):
            p.read_request(near, 5000, "test")


@pytest.mark.parametrize("code", [8, 255])
def test_an_unknown_request_type_is_refused(code: int) -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(struct.pack(">B3xII4xQ", code, 1, 0, 0))
        with pytest.raises(ProtocolError, match=f"unknown request type {code}"):
            p.read_request(near, 5000, "test")


@pytest.mark.parametrize("code", [5, 255])
def test_an_unknown_answer_status_is_refused(code: int) -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(struct.pack(">B3xIIIIIQ", code, 1, 0, 0, 0, 0, 0))
        with pytest.raises(ProtocolError, match=f"unknown answer status {code}"):
            p.read_answer(near, "test")


def test_times_beyond_what_a_header_holds_are_cut_and_not_an_error() -> None:
    answer = p.Answer(p.OK, 1, queue_us=1 << 40, predict_us=1 << 40)
    assert p.ANSWER.unpack(p.pack_answer(answer)[0])[4:6] == (0xFFFFFFFF, 0xFFFFFFFF)
    assert p.REQUEST.unpack(p.pack_request(p.BATCH, 1, b"", 1 << 40)[0])[3] == 0xFFFFFFFF


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_a_json_object_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        p.from_json(payload, "test")


@pytest.mark.parametrize("text", [None, 7, "", "AAAA", "not base64!", "é", base64.b64encode(b"\xff" * 64).decode()])
def test_what_is_not_a_schema_is_a_protocol_error(text: object) -> None:
    with pytest.raises(ProtocolError):
        p.schema_from_text(text, "test")


def test_the_end_mark_of_an_arrow_stream_is_neither_schema_nor_batch() -> None:
    mark = b"\xff\xff\xff\xff\x00\x00\x00\x00"
    with pytest.raises(ProtocolError):
        p.schema_from_text(base64.b64encode(mark).decode(), "test")
    with pytest.raises(ProtocolError):
        p.batch_from_buffer(mark, numbers().schema, "test")


def test_a_slice_travels_as_its_own_rows_only() -> None:
    batch = numbers(*range(100_000))
    payload = p.batch_to_buffer(batch.slice(50_000, 3))
    assert len(payload) < 1000
    assert p.batch_from_buffer(payload, batch.schema, "test").column(0).to_pylist() == [50_000, 50_001, 50_002]


def batches() -> list[pa.RecordBatch]:
    vector = pa.list_(pa.field("element", pa.float64()))
    return [
        numbers(1.0, 2.0, 3.0),
        pa.record_batch({"0": pa.array(["a", None, "ccc"])}),
        pa.record_batch({"0": pa.array([[1.0], None, [2.0, 3.0]], vector)}),
        pa.record_batch({"0": pa.array([{"x": 1, "y": ["q"]}, None])}),
        pa.record_batch({"0": pa.array([{"k": 1}, None], pa.map_(pa.string(), pa.int32()))}),
    ]


@pytest.mark.parametrize("batch", batches(), ids=lambda batch: str(batch.schema.field(0).type))
def test_damaged_arrow_bytes_are_a_protocol_error_or_sound_values_and_nothing_else(batch: pa.RecordBatch) -> None:
    rng = random.Random(0)
    sound = bytes(p.batch_to_buffer(batch))
    schema = batch.schema.serialize().to_pybytes()
    refused = 0
    for _ in range(1500):
        try:
            p.batch_from_buffer(damage(sound, rng), batch.schema, "test").to_pylist()
        except ProtocolError:
            refused += 1
        try:
            p.schema_from_text(base64.b64encode(damage(schema, rng)).decode(), "test")
        except ProtocolError:
            refused += 1
    assert refused > 1000


def damage(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, and now and then the end cut off."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    return bytes(broken[: rng.randrange(len(broken))] if rng.random() < 0.3 else broken)


def test_a_batch_that_does_not_hold_together_is_refused() -> None:
    offsets = pa.py_buffer(struct.pack("<4i", 0, 2, 1_000_000, 3))
    broken = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"abc"))
    payload = p.batch_to_buffer(pa.record_batch({"0": broken}))
    with pytest.raises(ProtocolError, match="cannot be read"):
        p.batch_from_buffer(payload, pa.schema([pa.field("0", pa.string())]), "test")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_batch_is_refused_before_it_is_unpacked(codec: str) -> None:
    batch = pa.record_batch({"0": pa.array([0.0] * 1_000_000)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_batch(batch)
    messages = pa.ipc.MessageReader.open_stream(sink.getvalue())
    messages.read_next_message()
    payload = messages.read_next_message().serialize()
    assert len(payload) < 100_000
    before = pa.total_allocated_bytes()
    with pytest.raises(ProtocolError, match="it is compressed"):
        p.batch_from_buffer(payload, batch.schema, "test")
    assert pa.total_allocated_bytes() - before < 1_000_000


def _patched(batch: pa.RecordBatch, rows: int) -> bytes:
    """The message of a batch whose numbers of rows are others."""
    payload = bytes(p.batch_to_buffer(batch))
    return payload.replace(struct.pack("<q", len(batch)), struct.pack("<q", rows))


def bombs() -> dict[str, tuple[pa.DataType, bytes]]:
    """Types, and messages of less than a kilobyte that have a billion values of it."""
    none, empty, many = pa.null(), pa.struct([]), 1 << 30
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([many], pa.int32()), pa.array([1.0]))
    lists = pa.FixedSizeListArray.from_arrays(pa.nulls(many), many)
    return {
        "nulls": (none, _patched(pa.record_batch({"0": pa.nulls(77_777)}), 1 << 40)),
        "nested nulls": (pa.list_(none, many), bytes(p.batch_to_buffer(pa.record_batch({"0": lists})))),
        "structs": (empty, _patched(pa.record_batch({"0": pa.nulls(77_777, empty)}), many)),
        "runs": (runs.type, bytes(p.batch_to_buffer(pa.record_batch({"0": runs})))),
    }


@pytest.mark.parametrize("kind", ["nulls", "nested nulls", "structs", "runs"])
def test_values_without_bytes_are_refused(kind: str) -> None:
    type_, payload = bombs()[kind]
    assert len(payload) < 100_000
    schema = p.schema_from_text(p.schema_to_text(pa.schema([("0", type_)])), "test")
    with pytest.raises(ProtocolError, match=r"values in|cannot be read"):
        p.batch_from_buffer(payload, schema, "test")


@pytest.mark.parametrize(
    "array",
    [pa.nulls(1_000_000), pa.nulls(1_000_000, pa.struct([("a", pa.bool_())])), pa.array([True] * 5_000_000)],
    ids=["nulls", "structs of nulls", "booleans"],
)
def test_long_columns_of_little_are_read(array: pa.Array) -> None:
    batch = pa.record_batch({"0": array})
    assert p.batch_from_buffer(p.batch_to_buffer(batch), batch.schema, "test").num_rows == len(array)


def test_texts_over_one_another_are_refused() -> None:
    text = pa.py_buffer(b"x" * 1_000_000)
    view = struct.pack("<I4sII", 1_000_000, b"xxxx", 0, 0)

    def batch(rows: int) -> pa.RecordBatch:
        return pa.record_batch(
            {"0": pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(view * rows), text])}
        )

    read = p.batch_from_buffer(p.batch_to_buffer(batch(3)), batch(3).schema, "test")
    assert read.column(0).cast(pa.string())[2].as_py() == "x" * 1_000_000
    with pytest.raises(ProtocolError, match="its texts have 500000000 bytes"):
        p.batch_from_buffer(p.batch_to_buffer(batch(500)), batch(500).schema, "test")


@pytest.mark.parametrize(
    "type_",
    [
        pa.list_view(pa.int64()),
        pa.list_(pa.list_view(pa.int64())),
        pa.large_list_view(pa.int64()),
        pa.list_(pa.string_view()),
        pa.dense_union([pa.field("a", pa.int64())]),
    ],
    ids=str,
)
def test_types_whose_values_lie_over_one_another_are_refused(type_: pa.DataType) -> None:
    with pytest.raises(ProtocolError, match="cannot be sent"):
        p.schema_from_text(p.schema_to_text(pa.schema([("0", type_)])), "test")


@pytest.mark.parametrize("length", [1 << 31, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("status", [p.OK, p.ERROR, p.INFO])
def test_an_answer_that_is_too_long_is_refused_before_memory_is_taken_for_it(status: int, length: int) -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(p.ANSWER.pack(status, 0, 1, 0, 0, 0, 0, length))
        with pytest.raises(ProtocolError, match=f"an answer has {length} bytes"):
            p.read_answer(here, "test")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        pa.list_,
        lambda t: pa.struct([("x", t)]),
        lambda t: pa.map_("string", t),
        pa.large_list,
        lambda t: pa.list_(t, 2),
    ],
)
def test_extension_types_are_read_as_what_they_are_stored_as(wrap: Callable[[pa.DataType], pa.DataType]) -> None:
    schema = pa.schema([pa.field("a", wrap(pa.uuid())), pa.field("b", pa.int64())])
    read = p.schema_from_text(p.schema_to_text(schema), "test")
    assert read == pa.schema([pa.field("a", wrap(pa.binary(16))), pa.field("b", pa.int64())])


def test_a_batch_of_an_extension_type_arrives_as_its_storage() -> None:
    storage = pa.array([b"0123456789abcdef", None], pa.binary(16))
    batch = pa.record_batch({"0": pa.ExtensionArray.from_storage(pa.uuid(), storage)})
    schema = p.schema_from_text(p.schema_to_text(batch.schema), "test")
    assert p.batch_from_buffer(p.batch_to_buffer(batch), schema, "test").column(0) == storage
