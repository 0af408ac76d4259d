# SPDX-License-Identifier: Apache-2.0
"""The shared vectors against the bridge."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sparkmodel.errors import SparkModelError
from sparkmodel.wire import protocol as p
from tests.bridge import Jvm, JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.wire.test_vectors import ARROW, CONVERSATIONS, REQUESTS, STATUSES, VECTORS, each

WORKER = VECTORS["conversations.json"]["worker"]
HEADER = ("seq", "epoch", "queue_us", "predict_us", "load", "length")


def payload_of(case: dict[str, Any]) -> str:
    if "batch" in case:
        return str(ARROW[case["batch"]]["hex"])
    return p.to_json(case["json"]).hex() if "json" in case else ""


@each("preface.json")
def test_a_preface_is_taken_or_refused_with_its_condition(case: dict[str, Any], jvm: Jvm) -> None:
    if case["condition"]:
        with pytest.raises(JvmError) as caught:
            jvm.call("preface", hex=case["hex"])
        assert caught.value.condition == case["condition"]
    else:
        assert jvm.call("preface", hex=case["hex"]) == case["hex"], "its own is the same"


@each("requests.json")
def test_a_request_is_written_with_the_same_bytes(case: dict[str, Any], jvm: Jvm) -> None:
    header = {key: case[key] for key in ("seq", "budget_ms", "length")}
    assert jvm.call("request", type=REQUESTS[case["type"]], **header) + payload_of(case) == case["hex"]


@pytest.mark.parametrize(
    "case", [case for case in VECTORS["requests.json"] if case["type"] == "OPEN"], ids=lambda case: case["name"]
)
def test_a_stream_is_opened_with_the_same_bytes(case: dict[str, Any], jvm: Jvm) -> None:
    asked = dict(case["json"])
    arguments = {"schema": asked["schema"], "by_name": asked["binding"] == "name"}
    arguments |= {key: asked[key] for key in ("on_error", "time_zone") if key in asked}
    if "params" in asked:
        arguments["params"] = p.to_json(asked["params"]).decode()
    assert jvm.call("open", **arguments).encode().hex() == payload_of(case)


@each("answers.json")
def test_an_answer_reads_as_stated(case: dict[str, Any], jvm: Jvm) -> None:
    (answer,) = jvm.call("answers", hex=case["hex"])
    assert answer["status"] == STATUSES[case["status"]]
    assert {key: answer[key] for key in HEADER} == {key: case[key] for key in HEADER}
    assert answer["payload"] == payload_of(case)
    if "json" in case:
        assert jvm.call("json", hex=answer["payload"]) == case["json"]


ERRORS = [case for case in VECTORS["answers.json"] if case["status"] in ("ERROR", "RETRY")]


@pytest.mark.parametrize("way", ["error", "serialized"])
@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case["name"])
def test_an_error_has_its_parts_and_shows_them_as_python_does(case: dict[str, Any], way: str, jvm: Jvm) -> None:
    with pytest.raises(JvmError) as caught:
        jvm.call(way, hex=payload_of(case))
    assert {key: caught.value.parts[key] for key in case["json"]} == case["json"]
    assert str(caught.value) == str(SparkModelError.from_dict(case["json"]))


@each("arrow.json")
def test_a_batch_is_taken_and_reads_as_stated(case: dict[str, Any], jvm: Jvm) -> None:
    jvm.call("check", hex=case["hex"], rows=case["rows"])
    values = jvm.call("values", hex=case["hex"], schema=case["schema"])
    assert values == [column["values"] for column in case["columns"]]


@each("arrow.json")
def test_a_damaged_batch_is_refused(case: dict[str, Any], jvm: Jvm) -> None:
    data = bytes.fromhex(case["hex"])
    size = int.from_bytes(data[4:8], "little")
    damaged = {
        "rows were asked": data,
        "not start as an Arrow message": b"\0" + data[1:],
        "metadata has": data[:4] + b"\xff\xff\xff\x7f" + data[8:],
        "body has": data + bytes(8),
        "cannot be read": data[:8] + b"\xff" * size + data[8 + size :],
    }
    for fact, hex_ in damaged.items():
        with pytest.raises(JvmError, match=fact) as caught:
            jvm.call("check", hex=hex_.hex(), rows=case["rows"] + (fact == "rows were asked"))
        assert caught.value.condition == "PROTOCOL_ERROR"


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 17), (8, 16), (-8, 16), (0, -1), (1 << 62, 1 << 62), ((1 << 63) - 8, 16)]
)
def test_a_buffer_outside_of_the_body_is_refused(offset: int, length: int, jvm: Jvm) -> None:
    data = bytes.fromhex(ARROW["prediction"]["hex"])
    place = struct.pack("<qq", 0, 16)  # two doubles, all of the body
    assert data.count(place) == 1
    with pytest.raises(JvmError, match="buffer 1 lies outside") as caught:
        jvm.call("check", hex=data.replace(place, struct.pack("<qq", offset, length)).hex(), rows=2)
    assert caught.value.condition == "PROTOCOL_ERROR"


def test_no_damage_of_one_byte_of_the_metadata_gets_past_with_another_exception(jvm: Jvm) -> None:
    data = bytes.fromhex(ARROW["prediction"]["hex"])
    changed = [
        data[:i] + bytes([data[i] ^ 0x81]) + data[i + 1 :] for i in range(8 + int.from_bytes(data[4:8], "little"))
    ]
    calls = [jvm.start("check", hex=case.hex(), rows=2) for case in changed]
    conditions = [error.condition for call in calls if isinstance(error := call.exception(60), JvmError)]
    assert set(conditions) == {"PROTOCOL_ERROR"}
    assert len(conditions) > len(calls) / 3


class Script:
    """A worker that says word for word what a conversation has it say, one frame for each request."""

    def __init__(self, case: dict[str, Any]) -> None:
        said = b"".join(bytes.fromhex(step["hex"]) for step in case["steps"] if step["from"] == "worker")
        self._preface, self._frames = said[: p.PREFACE.size], list(frames(said[p.PREFACE.size :]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), sock:
            sock.sendall(self._preface)
            p.read_preface(sock, "script")
            for frame in self._frames:
                p.read_request(sock, 1 << 20, "script")
                sock.sendall(frame)
            sock.recv(1)


def frames(data: bytes) -> Iterator[bytes]:
    while data:
        size = p.ANSWER.size + int(p.ANSWER.unpack(data[: p.ANSWER.size])[-1])
        yield data[:size]
        data = data[size:]


# what a client of this worker meets, batch by batch; "ok" is an answer. Workers that refuse the greeting are none.
OUTCOMES = {
    "one batch": ["ok"],
    "two batches in flight": ["ok", "ok"],
    "a batch that fails leaves the connection open": ["PREDICT_FAILED", "ok"],
    "a second hello asks for the directory": ["PROTOCOL_ERROR"],  # it is answered what it has not asked
    "bad magic": ["POOL_GONE"],
    "another protocol version": ["PROTOCOL_VERSION_MISMATCH"],
    "wrong token": ["POOL_GONE"],
    "no hello": ["POOL_GONE"],
    "hello that is not JSON": ["POOL_GONE"],
    "batch before open": ["PROTOCOL_ERROR"],
    "batch cut short": ["PROTOCOL_ERROR"],
    "message over the limit": ["BATCH_TOO_LARGE"],
    "unknown request": ["PROTOCOL_ERROR"],
}


@pytest.mark.parametrize("case", CONVERSATIONS, ids=lambda case: case["name"])
def test_a_conversation_ends_as_stated(case: dict[str, Any], pool: Callable[..., Client]) -> None:
    script = Script(case)
    try:
        directory = Directory(WORKER["directory"]["epoch"], (script.endpoint,), "ready", WORKER["version"])
        client = pool(script, directory=directory, gone_s=0.2)
        for outcome in OUTCOMES[case["name"]]:
            if outcome == "ok":
                collected = client.collect(client.submit(1, 2.5))
                assert collected.parts["version"] == WORKER["version"]
                assert collected.values == ARROW["prediction"]["columns"][0]["values"]
            else:
                with pytest.raises(JvmError) as caught:
                    client.score(1, 2.5)
                assert caught.value.condition == outcome
    finally:
        script.close()
