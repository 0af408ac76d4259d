# SPDX-License-Identifier: Apache-2.0
"""The text of a handle, which functions, files and the JVM carry, and its parts."""

from __future__ import annotations

import base64
import dataclasses
import json
import pickle

import pyarrow as pa
import pytest

from sparkmodel.errors import ProtocolError
from sparkmodel.options import PoolOptions
from sparkmodel.schema import Column
from sparkmodel.wire import protocol as p
from sparkmodel.wire.handle import MARKER, CallOptions, Contract, Credential, Handle, PoolRef
from sparkmodel.wire.limits import Limits
from tests.unit.wire.toys import listing

SECRET = base64.b64encode(b"secret of 32 bytes that is known").decode()
WHOLE = Handle(
    pool=PoolRef(
        name="toy",
        pool_id="p1",
        master=("10.0.0.1", 1),
        directory=listing(3, (("10.0.0.2", 2),), version=7, limits=Limits(max_retries=1)),
    ),
    credential=Credential(claims='{"pool":"p1"}', key=SECRET, tls="a certificate"),
    contract=Contract(
        result_type=pa.float64(),
        inputs=(Column(name="a", type=pa.float64(), required=True, shape=None),),
        like_mlflow=True,
        digest="0123456789abcdef",
    ),
    call=CallOptions(
        params='{"k": 1}',
        on_error="null",
        time_zone="UTC",
        names=("a",),
        by_name=True,
        case_sensitive=True,
        timeout_s=9.5,
        app="app-1",
        query="query:app-1:3",
        source="stream",
        limits=Limits(max_in_flight=5, max_retries=6, timeout_s=7.5, ready_timeout_s=8.5, bisect_calls=9),
    ),
)


def test_the_text_is_flat_json_as_files_that_were_saved_have_it() -> None:
    text = json.loads(WHOLE.to_text().removeprefix(MARKER))
    result, inputs = text.pop("result"), text.pop("inputs")
    assert text == {
        "name": "toy",
        "pool_id": "p1",
        "claims": '{"pool":"p1"}',
        "key": SECRET,
        "master": ["10.0.0.1", 1],
        "max_in_flight": 5,
        "max_retries": 6,
        "timeout_s": 7.5,
        "ready_timeout_s": 8.5,
        "bisect_calls": 9,
        "directory": {
            "incarnation": 1,
            "number": 3,
            "state": "ready",
            "version": 7,
            "served": [{"version": 7, "endpoints": [["10.0.0.2", 2]], "weight": 1.0, "accepts": []}],
            "master": None,
            "limits": {"max_in_flight": 2, "max_retries": 1, "timeout_s": 60.0, "ready_timeout_s": 300.0},
            "condemned": [],
        },
        "call": {
            "params": '{"k": 1}',
            "on_error": "null",
            "time_zone": "UTC",
            "names": ["a"],
            "by_name": True,
            "case_sensitive": True,
            "timeout_s": 9.5,
            "app": "app-1",
            "query": "query:app-1:3",
            "source": "stream",
        },
        "tls": "a certificate",
        "like_mlflow": True,
        "digest": "0123456789abcdef",
    }
    assert p.schema_from_text(result, "test") == pa.schema([("prediction", pa.float64())])
    assert p.schema_from_text(inputs["schema"], "test") == pa.schema([("a", pa.float64())])
    assert (inputs["required"], inputs["shapes"]) == ([True], [None])
    assert inputs["shapes"] == [None]


def test_a_handle_is_read_back_whole() -> None:
    assert Handle.from_text(WHOLE.to_text()) == WHOLE == pickle.loads(pickle.dumps(WHOLE))


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    "type_", [None, pa.struct([pa.field("x", pa.int64(), False), pa.field("y", pa.list_(pa.struct([])))])], ids=str
)
def test_inputs_are_read_back_with_what_they_leave_open(type_: pa.DataType | None, required: bool) -> None:
    contract = Contract(result_type=pa.float64(), inputs=(Column(name="a", type=type_, required=required),))
    handle = dataclasses.replace(WHOLE, contract=contract)
    assert Handle.from_text(handle.to_text()) == handle


@pytest.mark.parametrize(
    "key", ["name", "pool_id", "claims", "key", "master", "max_retries", "directory", "result", "call"]
)
def test_a_text_that_lacks_a_part_is_refused(key: str) -> None:
    parts = json.loads(WHOLE.to_text().removeprefix(MARKER))
    del parts[key]
    with pytest.raises(ProtocolError, match=f"it is damaged: KeyError\\('{key}'\\)"):
        Handle.from_text(MARKER + json.dumps(parts))


@pytest.mark.parametrize("key", ["", "AAAA", "%" * 44, None])
def test_a_damaged_key_is_named_and_not_shown(key: str | None) -> None:
    parts = json.loads(WHOLE.to_text().removeprefix(MARKER)) | {"key": key}
    with pytest.raises(ProtocolError, match="it is damaged") as caught:
        Handle.from_text(MARKER + json.dumps(parts))
    assert "%%%" not in str(caught.value)


def test_neither_the_handle_nor_its_parts_show_secrets() -> None:
    assert SECRET not in repr(WHOLE) + str(WHOLE.credential)
    assert "certificate" not in repr(WHOLE)
    assert "p1" not in repr(WHOLE.credential)


def test_limits_are_those_that_a_pool_was_registered_with() -> None:
    given = {"max_in_flight": 4, "max_retries": 0, "timeout_s": 3.0, "ready_timeout_s": 2.0}
    assert Limits.of(PoolOptions.of(given)) == Limits(**given)  # type: ignore[arg-type]
    assert Limits.of(PoolOptions()) == Limits()


def test_a_call_of_other_options_keeps_all_else() -> None:
    called = WHOLE.calling(on_error="fail")
    assert (called.call.on_error, called.call.timeout_s, called.call.limits) == ("fail", 9.5, WHOLE.call.limits)
    assert called.calling(on_error="null") == WHOLE


def test_a_worker_is_told_neither_limits_nor_the_callers_deadline() -> None:
    told = WHOLE.call.told()
    parts = {"params": {"k": 1}, "on_error": "null", "time_zone": "UTC", "case_sensitive": True}
    assert told.to_dict() == WHOLE.call.to_dict() == parts
    assert told == WHOLE.calling(timeout_s=1.0, limits=Limits(max_retries=0), names=("b",), app="b").call.told()
    assert told.query == WHOLE.call.query, "batches of two queries share no stream"
