# SPDX-License-Identifier: Apache-2.0
"""The shared vectors against this implementation, both ways."""

from __future__ import annotations

import json
import math
import pathlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.errors import SparkModelError
from sparkmodel.wire import proofs
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Revision
from sparkmodel.wire.greeting import from_text, to_text
from sparkmodel.wire.handle import CallOptions
from sparkmodel.wire.streams import StreamKey
from tests.vectors import generate

HERE = pathlib.Path(__file__).parents[2] / "vectors"
FILES = (
    "preface.json",
    "requests.json",
    "answers.json",
    "proofs.json",
    "arrow.json",
    "conversations.json",
    "calls.json",
)
REQUESTS = {"HELLO": p.HELLO, "OPEN": p.OPEN, "BATCH": p.BATCH, "PIN": p.PIN, "PROVE": p.PROVE}
STATUSES = {"OK": p.OK, "ERROR": p.ERROR, "RETRY": p.RETRY, "ALIVE": p.ALIVE, "INFO": p.INFO}


def load(name: str) -> Any:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


VECTORS = {name: load(name) for name in FILES}
ARROW = {case["name"]: case for case in VECTORS["arrow.json"]}


def test_a_key_and_its_proofs_are_as_stated() -> None:
    for case in VECTORS["proofs.json"]:
        key = proofs.key_of(case["secret"], case["claims"])
        pair = from_text(case["nonce_of_client"]), from_text(case["nonce_of_server"])
        assert to_text(key) == case["key"]
        assert to_text(proofs.servers_proof(key, *pair, case["claims"])) == case["proof_of_server"]
        assert to_text(proofs.clients_proof(key, *pair, case["claims"])) == case["proof_of_client"]
        assert proofs.Claims.from_text(case["claims"]).to_text() == case["claims"]


def each(file: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", VECTORS[file], ids=lambda case: case["name"])


def feed(data: bytes) -> socket.socket:
    """A socket from which exactly these bytes come."""
    near, far = socket.socketpair()
    with far:
        far.sendall(data)
    return near


def read_all(sock: socket.socket, read: Callable[[socket.socket], Any]) -> Any:
    """What `read` makes of the socket's bytes; it must leave none."""
    with sock:
        result = read(sock)
        assert sock.recv(1) == b"", "bytes are left over"
        return result


def spell(value: Any) -> Any:
    """A value as the vectors spell it."""
    if isinstance(value, list):
        return [spell(item) for item in value]
    if isinstance(value, dict):
        return {key: spell(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def check_batch(payload: Any, name: str) -> None:
    """The payload holds the batch of that name in arrow.json."""
    schema = p.schema_from_text(ARROW[name]["schema"], "test")
    batch = p.batch_from_buffer(payload, schema, "test")
    assert batch.num_rows == ARROW[name]["rows"]
    columns = [
        {"name": field.name, "type": str(field.type), "values": spell(column.to_pylist())}
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    assert columns == ARROW[name]["columns"]


def payload_of(case: dict[str, Any]) -> bytes:
    if "batch" in case:
        return bytes.fromhex(ARROW[case["batch"]]["hex"])
    return p.to_json(case["json"]) if "json" in case else b""


def check_payload(payload: Any, case: dict[str, Any]) -> None:
    assert len(payload) == case["length"]
    if "batch" in case:
        check_batch(payload, case["batch"])
    elif "json" in case:
        assert p.from_json(payload, "test") == case["json"]


@each("preface.json")
@pytest.mark.fault("F24")
def test_a_preface_is_taken_or_refused_with_its_condition(case: dict[str, Any]) -> None:
    sock = feed(bytes.fromhex(case["hex"]))
    if case["condition"]:
        with pytest.raises(SparkModelError) as caught, sock:
            p.read_preface(sock, "test")
        assert caught.value.condition == case["condition"]
    else:
        read_all(sock, lambda sock: p.read_preface(sock, "test"))
        assert p.pack_preface(case["version"]).hex() == case["hex"]


@each("requests.json")
def test_a_request_reads_as_stated(case: dict[str, Any]) -> None:
    request = read_all(feed(bytes.fromhex(case["hex"])), lambda sock: p.read_request(sock, 1 << 20, "test"))
    assert (request.type, request.seq, request.budget_ms) == (REQUESTS[case["type"]], case["seq"], case["budget_ms"])
    check_payload(request.payload, case)


@each("requests.json")
def test_a_request_is_written_with_the_same_bytes(case: dict[str, Any]) -> None:
    packed = p.pack_request(REQUESTS[case["type"]], case["seq"], payload_of(case), case["budget_ms"])
    assert b"".join(packed).hex() == case["hex"]


@each("answers.json")
def test_an_answer_reads_as_stated(case: dict[str, Any]) -> None:
    answer = read_all(feed(bytes.fromhex(case["hex"])), lambda sock: p.read_answer(sock, "test"))
    assert answer.status == STATUSES[case["status"]]
    assert answer.revision == Revision(case["incarnation"], case["number"])
    for key in ("seq", "queue_us", "predict_us", "load"):
        assert getattr(answer, key) == case[key], key
    check_payload(answer.payload, case)


@each("answers.json")
def test_an_answer_is_written_with_the_same_bytes(case: dict[str, Any]) -> None:
    header = {key: case[key] for key in ("seq", "queue_us", "predict_us", "load")}
    revision = Revision(case["incarnation"], case["number"])
    packed = p.pack_answer(p.Answer(STATUSES[case["status"]], revision=revision, payload=payload_of(case), **header))
    assert b"".join(packed).hex() == case["hex"]


@each("answers.json")
def test_an_error_in_an_answer_arrives_as_its_own_class_and_leaves_with_the_same_keys(case: dict[str, Any]) -> None:
    if case["status"] in ("ERROR", "RETRY"):
        error = SparkModelError.from_dict(case["json"])
        assert type(error) is not SparkModelError
        assert error.to_dict() == case["json"]
    else:
        assert "condition" not in case.get("json", {})


@each("arrow.json")
def test_a_batch_reads_as_stated(case: dict[str, Any]) -> None:
    check_batch(bytes.fromhex(case["hex"]), case["name"])


@each("arrow.json")
def test_a_batch_survives_our_own_writing(case: dict[str, Any]) -> None:
    schema = p.schema_from_text(case["schema"], "test")
    batch = p.batch_from_buffer(bytes.fromhex(case["hex"]), schema, "test")
    assert p.schema_from_text(p.schema_to_text(schema), "test") == schema
    check_batch(p.batch_to_buffer(batch), case["name"])


def test_the_client_opens_a_stream_with_the_keys_of_the_vectors() -> None:
    opens = {case["name"]: case["json"] for case in VECTORS["requests.json"] if case["type"] == "OPEN"}
    of_query = {"call": CallOptions(query="query:app-1:3"), "pin": 7, "digest": "0123456789abcdef"}
    cases: list[tuple[str, bool, dict[str, Any]]] = [
        ("open by position", False, {}),
        ("open by name", True, {}),
        ("open of a query", False, of_query),
    ]
    for name, by_name, more in cases:
        schema = p.schema_from_text(opens[name]["schema"], "test")
        said = p.from_json(StreamKey(schema, by_name, **more).to_json(), "test")
        assert p.schema_from_text(said.pop("schema"), "test") == schema
        assert said == {key: value for key, value in opens[name].items() if key != "schema"}


def test_the_files_are_what_the_generator_writes() -> None:
    written = json.loads(json.dumps(generate.build(), allow_nan=False))
    assert set(written) == set(FILES)
    for name, content in written.items():
        # what Arrow writes may differ from version to version: those bytes are compared by value above
        assert without_arrow(content) == without_arrow(VECTORS[name]), name


def without_arrow(value: Any) -> Any:
    if isinstance(value, list):
        return [without_arrow(item) for item in value]
    if isinstance(value, dict):
        return {key: without_arrow(item) for key, item in value.items() if key not in ("hex", "schema", "length")}
    return value
