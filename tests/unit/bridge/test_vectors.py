# SPDX-License-Identifier: Apache-2.0
"""The shared vectors against the bridge."""

from __future__ import annotations

import contextlib
import struct
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import SparkModelError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.limits import Limits
from tests.bridge import Jvm, JvmError
from tests.unit.bridge.conftest import Client, text_of
from tests.unit.wire.script import Script, batch_of, differences
from tests.unit.wire.test_vectors import ARROW, REQUESTS, STATUSES, VECTORS, each
from tests.unit.wire.toys import handle_of

HEADER = ("seq", "incarnation", "number", "queue_us", "predict_us", "load", "length")


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


@each("proofs.json")
def test_proofs_are_the_same(case: dict[str, Any], jvm: Jvm) -> None:
    given = {key: case[key] for key in ("claims", "key", "nonce_of_client", "nonce_of_server")}
    assert jvm.call("proofs", **given) == [case["proof_of_server"], case["proof_of_client"]]


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
    arguments |= {
        key: asked[key] for key in ("on_error", "time_zone", "pin", "digest", "query", "case_sensitive") if key in asked
    }
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


def test_values_without_bytes_are_refused(jvm: Jvm) -> None:
    nulls = bytes(pa.record_batch({"0": pa.nulls(77_777)}).serialize())
    with pytest.raises(JvmError, match="1099511627776 values in") as caught:
        jvm.call("check", hex=nulls.replace(struct.pack("<q", 77_777), struct.pack("<q", 1 << 40)).hex(), rows=1)
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


@pytest.mark.fault("F27")
def test_no_damage_of_one_byte_of_the_metadata_gets_past_with_another_exception(jvm: Jvm) -> None:
    data = bytes.fromhex(ARROW["prediction"]["hex"])
    changed = [
        data[:i] + bytes([data[i] ^ 0x81]) + data[i + 1 :] for i in range(8 + int.from_bytes(data[4:8], "little"))
    ]
    calls = [jvm.start("check", hex=case.hex(), rows=2) for case in changed]
    conditions = [error.condition for call in calls if isinstance(error := call.exception(60), JvmError)]
    assert set(conditions) == {"PROTOCOL_ERROR"}
    assert len(conditions) > len(calls) / 3


@each("calls.json")
def test_a_call_goes_as_stated(case: dict[str, Any], jvm: Jvm) -> None:
    with contextlib.closing(Script(case, ARROW)) as script:
        handle = handle_of(
            pool_id=f"{case['name']} {id(script)}",
            directory=Directory.from_dict(script.directory(case["call"]["directory"])),
            master_endpoint=script.endpoints["master"],
            limits=Limits.from_dict(case["call"]["limits"]),
        )
        client = Client(jvm, jvm.call("client", handle=text_of(handle)))
        answers, condition, fact = [], None, ""
        try:
            answers += called(client, case["call"])
        except JvmError as error:
            condition, fact = error.condition, str(error.parts["fact"])
        finally:
            client.close()
        assert condition == case["expected"]["condition"]
        assert case["expected"].get("fact", "") in fact
        assert answers == [ARROW[name]["columns"][0]["values"] for name in case["expected"]["answers"]]
        assert differences(case["expected"], script.heard) == []


def called(client: Client, call: dict[str, Any]) -> Iterator[list[Any]]:
    """The answers of a call as a task makes it: its query's version first, then some batches ahead."""
    told = {key: call[key] for key in ("query", "digest")} | call.get("options", {})
    deadline = {} if call["timeout_s"] is None else {"timeout_s": call["timeout_s"]}
    if told["query"]:
        held = {key: told[key] for key in ("query", "digest")}
        told["pin"] = client.jvm.start("pin", client=client.number, **held, **deadline).result(60)
    ahead = client.jvm.call("in_force", client=client.number)[0]
    window: deque[int] = deque()
    for given in call["batches"]:
        batch = client.batch(batch_of(given, ARROW))
        window.append(client.jvm.start("submit", **batch, **told, **deadline).result(60))
        if len(window) == ahead:
            time.sleep(call["collect_after_ms"] / 1000)
            yield client.collect(window.popleft()).values
    time.sleep(call["collect_after_ms"] / 1000)
    yield from (client.collect(ticket).values for ticket in window)
