# SPDX-License-Identifier: Apache-2.0
"""What one connection may say, and what the worker answers when it says something wrong. Real sockets."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import PredictError, SchemaMismatchError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Revision
from sparkmodel.wire.greeting import to_text
from sparkmodel.wire.server import Server
from tests.unit.wire.test_protocol import damage
from tests.unit.wire.toys import RawClient, ToyService, credential_of, listing, numbers, wait_until

Raw = Callable[[Server], RawClient]
Serve = Callable[..., Server]


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve()


@pytest.fixture
def client(server: Server, raw: Raw) -> RawClient:
    """A connection that is greeted and has a stream open."""
    made = raw(server)
    made.hello()
    made.open()
    return made


def check_lives(server: Server) -> None:
    """The server still answers a newcomer."""
    with RawClient(server.endpoint) as newcomer:
        newcomer.hello()
        newcomer.open()
        newcomer.batch(1, 21)
        assert newcomer.values(1) == [42]


def test_the_greeting_tells_limits_and_directory(service: ToyService, server: Server, raw: Raw) -> None:
    service.directory = listing(4, (("h", 1), ("h", 2)), "healing", 3)
    assert raw(server).hello() == {
        "max_batch_bytes": p.MAX_BATCH_BYTES,
        "free_bytes": 65536,
        "incarnation": 1,
        "number": 4,
        "state": "healing",
        "version": 3,
        "served": [{"version": 3, "endpoints": [["h", 1], ["h", 2]], "weight": 1.0, "accepts": []}],
        "master": None,
        "limits": None,
        "condemned": [],
        "session": 1,
    }


def test_open_tells_the_schema_of_the_answers_and_the_version(server: Server, raw: Raw, service: ToyService) -> None:
    client = raw(server)
    client.hello()
    reply = client.open()
    assert reply["version"] == 1
    assert p.schema_from_text(reply["schema"], "test") == pa.schema([pa.field("prediction", pa.float64())])
    assert service.opened == [{"binding": "position", "pin": None}]


def test_batches_in_flight_on_one_connection_are_answered_in_order(client: RawClient) -> None:
    for seq in range(1, 201):
        client.batch(seq, seq, seq + 0.5)
    assert [client.values(seq) for seq in range(1, 201)] == [[2 * n, 2 * n + 1] for n in range(1, 201)]


def test_the_answer_carries_the_callers_number_whatever_it_is(client: RawClient) -> None:
    for seq in (7, 7, 0, 0xFFFFFFFF, 3):
        client.batch(seq, 1)
        assert client.values(seq) == [2]


def test_a_batch_without_rows_is_answered_without_rows(client: RawClient) -> None:
    client.batch(1)
    assert client.values(1) == []


def test_the_answer_tells_the_time_in_the_model_and_the_revision(client: RawClient, service: ToyService) -> None:
    service.directory = listing(9, (), "ready", 1)
    with service.held():
        client.batch(1, 1)
        assert client.answer(alive=True).status == p.ALIVE  # so at least a while has passed
    answer = client.answer()
    assert (answer.status, answer.revision) == (p.OK, Revision(1, 9))
    assert answer.predict_us > answer.queue_us
    assert answer.predict_us > 100_000


def test_a_second_stream_replaces_the_first(client: RawClient) -> None:
    client.open(pa.schema([pa.field("0", pa.int64())]))
    client.request(p.BATCH, 1, p.batch_to_buffer(pa.record_batch({"0": pa.array([1 << 40])})))
    assert client.values(1) == [1 << 41]


def test_a_stream_that_cannot_be_opened_leaves_the_connection_open_but_no_stream(
    client: RawClient, service: ToyService
) -> None:
    def refuse() -> None:
        raise SchemaMismatchError("Cannot score with 'toy'", "column 'a' is missing", "pass it")

    service.on_open = refuse
    client.request(p.OPEN, 6, p.to_json({"schema": p.schema_to_text(numbers().schema)}))
    assert client.condition(seq=6) == "SCHEMA_MISMATCH"
    client.batch(7, 1)
    assert client.condition(seq=7) == "PROTOCOL_ERROR"
    assert client.is_closed()


def test_an_error_of_the_model_comes_with_all_its_parts_and_the_connection_goes_on(
    client: RawClient, service: ToyService
) -> None:
    def fail(_: pa.RecordBatch) -> pa.Array:
        raise PredictError("Cannot score with 'toy'", "it broke", "mend it", "line 1\nline 2: ü")

    service.predict = fail
    client.batch(5, 1)
    answer = client.answer()
    assert (answer.status, answer.seq) == (p.ERROR, 5)
    assert p.from_json(answer.payload, "test") == {
        "condition": "PREDICT_FAILED",
        "what": "Cannot score with 'toy'",
        "fact": "it broke",
        "hint": "mend it",
        "details": "line 1\nline 2: ü",
    }
    service.predict = lambda batch: batch.column(0)
    client.batch(6, 3)
    assert client.values(6) == [3]


def test_an_error_of_megabytes_is_cut_to_what_a_message_may_have(client: RawClient, service: ToyService) -> None:
    def fail(_: pa.RecordBatch) -> pa.Array:
        raise PredictError("Cannot score", "f" * 3_000_000, details="d" * 3_000_000 + "the end")

    service.predict = fail
    client.batch(1, 1)
    answer = client.answer()
    assert len(answer.payload) <= p.MAX_JSON_BYTES
    assert p.from_json(answer.payload, "test")["details"].endswith("the end")


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(28, "No space left"), EOFError(), SystemExit(3)])
def test_an_unforeseen_error_in_the_worker_is_answered_and_not_a_lost_connection(
    client: RawClient, service: ToyService, error: BaseException
) -> None:
    def fail(_: pa.RecordBatch) -> pa.Array:
        raise error

    service.predict = fail
    client.batch(1, 1)
    assert client.condition(seq=1) == "INTERNAL_ERROR"
    service.predict = lambda batch: batch.column(0)
    client.batch(2, 3)
    assert client.values(2) == [3]


def says(type_: int, value: Any) -> bytes:
    """A preface and a first request."""
    payload = value if isinstance(value, bytes) else p.to_json(value)
    return p.pack_preface() + b"".join(p.pack_request(type_, 0, payload))


HELLO = {"claims": credential_of().claims, "nonce": to_text(bytes(32)), "model": "toy", "client": "test"}


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "PROTOCOL_ERROR"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "PROTOCOL_ERROR"),  # a TLS client
        (p.pack_preface(1), "PROTOCOL_VERSION_MISMATCH"),
        (p.pack_preface(2), "PROTOCOL_VERSION_MISMATCH"),
        (says(p.HELLO, b"not json"), "PROTOCOL_ERROR"),
        (says(p.HELLO, b"[]"), "PROTOCOL_ERROR"),
        (says(p.HELLO, b""), "PROTOCOL_ERROR"),
        (says(p.HELLO, b"\xff\xff"), "PROTOCOL_ERROR"),
        (says(p.HELLO, b"[" * 4000), "PROTOCOL_ERROR"),
        (says(p.HELLO, b"{}"), "PROTOCOL_ERROR"),
        (says(p.HELLO, b'{"token":"secret"}'), "PROTOCOL_ERROR"),
        (says(p.HELLO, {**HELLO, "claims": ["x"]}), "PROTOCOL_ERROR"),
        (says(p.HELLO, {**HELLO, "claims": "\ud800"}), "PROTOCOL_ERROR"),
        (says(p.HELLO, {**HELLO, "nonce": "AAAA"}), "PROTOCOL_ERROR"),
        (says(p.HELLO, {**HELLO, "nonce": "not base64"}), "PROTOCOL_ERROR"),
        (says(p.OPEN, b"{}"), "PROTOCOL_ERROR"),
        (says(p.BATCH, b""), "PROTOCOL_ERROR"),
        (says(p.PROVE, b"{}"), "PROTOCOL_ERROR"),
        (p.pack_preface() + p.REQUEST.pack(p.BATCH, 0, 0, 0, 1 << 40), "PROTOCOL_ERROR"),
        (p.pack_preface() + p.REQUEST.pack(p.HELLO, 0, 0, 0, 4097), "BATCH_TOO_LARGE"),
        (p.pack_preface() + struct.pack(">B3xII4xQ", 77, 0, 0, 0), "PROTOCOL_ERROR"),
    ],
)
@pytest.mark.fault("F23")
def test_a_stranger_is_answered_with_a_condition_and_hung_up_on(
    said: bytes, condition: str, server: Server, raw: Raw, service: ToyService
) -> None:
    stranger = raw(server)
    stranger.say(said)
    p.read_preface(stranger.sock, "test")
    assert stranger.condition() == condition
    assert stranger.is_closed()
    assert service.opened == []
    check_lives(server)


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        (p.pack_request(p.OPEN, 1, b"{"), "PROTOCOL_ERROR"),
        (p.pack_request(p.OPEN, 1, b"{}"), "PROTOCOL_ERROR"),
        (p.pack_request(p.OPEN, 1, p.to_json({"schema": "AAAA"})), "PROTOCOL_ERROR"),
        (p.pack_request(p.BATCH, 1, b"garbage"), "PROTOCOL_ERROR"),
        (p.pack_request(p.BATCH, 1, b""), "PROTOCOL_ERROR"),
        (p.pack_request(p.BATCH, 1, b"\xff\xff\xff\xff\x00\x00\x00\x00"), "PROTOCOL_ERROR"),
        (p.pack_request(p.BATCH, 1, p.batch_to_buffer(numbers(1, 2, 3)).slice(0, 100)), "PROTOCOL_ERROR"),
        (p.pack_request(p.PROVE, 1, b"{}"), "PROTOCOL_ERROR"),
        ([p.REQUEST.pack(p.BATCH, 0, 1, 0, p.MAX_BATCH_BYTES + 1)], "BATCH_TOO_LARGE"),
        ([p.REQUEST.pack(p.OPEN, 0, 1, 0, p.MAX_JSON_BYTES + 1)], "BATCH_TOO_LARGE"),
        ([struct.pack(">B3xII4xQ", 4, 1, 0, 0)], "PROTOCOL_ERROR"),
    ],
)
def test_a_client_that_breaks_the_protocol_is_told_so_and_hung_up_on(
    said: list[Any], condition: str, client: RawClient, server: Server, service: ToyService
) -> None:
    client.say(*(bytes(part) for part in said))
    assert client.condition() == condition
    assert client.is_closed()
    assert service.seen == []
    check_lives(server)


@pytest.mark.parametrize("keep", [0, 3, 8, 20, 32, 40, -1])
def test_a_client_that_stops_amid_a_message_costs_the_server_nothing(keep: int, server: Server, raw: Raw) -> None:
    client = raw(server)
    client.say(says(p.HELLO, HELLO)[:keep])
    client.sock.shutdown(socket.SHUT_WR)
    while client.sock.recv(4096):  # the worker's preface, and its end
        pass
    wait_until(lambda: "0 connections" in repr(server), "the server forgets the connection")
    check_lives(server)


def test_a_client_that_resets_the_connection_costs_the_server_nothing(client: RawClient, server: Server) -> None:
    client.batch(1, 1)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
    wait_until(lambda: "0 connections" in repr(server), "the server forgets the connection")
    check_lives(server)


@pytest.mark.fault("F27")
def test_no_damaged_batch_brings_the_server_down(server: Server, raw: Raw) -> None:
    rng = random.Random(1)
    schema = pa.schema([pa.field("0", pa.list_(pa.float64())), pa.field("1", pa.string())])
    sound = bytes(p.batch_to_buffer(pa.record_batch([[[1.0, 2.0], None, []], ["a", "bc", None]], schema=schema)))
    service_errors = 0
    server.service.predict = lambda batch: pa.array([float(len(batch))] * len(batch))  # type: ignore[attr-defined]
    for _ in range(150):
        client = raw(server)
        client.hello()
        client.open(schema)
        client.request(p.BATCH, 1, damage(sound, rng))
        answer = client.answer()
        assert answer.status in (p.OK, p.ERROR)
        if answer.status == p.ERROR:
            assert p.from_json(answer.payload, "test")["condition"] == "PROTOCOL_ERROR"
            service_errors += 1
        client.sock.close()
    assert service_errors > 50
    server.service.predict = lambda batch: batch.column(0)  # type: ignore[attr-defined]
    client = raw(server)
    client.hello()
    client.open()
    client.batch(1, 5)
    assert client.values(1) == [5]


@pytest.mark.fault("F27")
def test_noise_after_the_greeting_never_brings_the_server_down(server: Server, raw: Raw) -> None:
    rng = random.Random(2)
    for _ in range(100):
        client = raw(server)
        client.hello()
        client.say(rng.randbytes(rng.randint(1, 200)))
        client.sock.shutdown(socket.SHUT_WR)
        while client.sock.recv(4096):
            pass
        client.sock.close()
    check_lives(server)


def test_a_caller_whose_host_went_dark_is_noticed_and_one_that_reads_late_is_none(
    server: Server, client: RawClient
) -> None:
    """Else its place among the 2,000 connections would be taken for two hours."""
    (session,) = server._open_sessions()
    options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]
    assert session._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert [session._sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [2, 1, 3, 0]
