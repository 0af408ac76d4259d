# SPDX-License-Identifier: Apache-2.0
"""Arrow streams in and out, whatever type; and what becomes much more than it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pyarrow as pa
import pytest

from sparkmodel.errors import MalformedRequestError
from sparkmodel.rest.arrow import ARROW_STREAM, table_of
from sparkmodel.rest.settings import Settings
from sparkmodel.schema import Column, Signature
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]


class Echo:
    """Gives back its first column."""

    def predict(self, data: Any) -> Any:
        return data.iloc[:, 0]


def stream(*batches: pa.RecordBatch, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def predict(client: httpx.Client, body: bytes, kind: str = ARROW_STREAM) -> httpx.Response:
    return client.post("/models/m/predict", content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, None, 2**53 + 1]),
        pa.array([0.1, -0.0], pa.float32()),
        pa.array(["é", None]),
        pa.array([b"\xff", None]),
        pa.array([True, None]),
        pa.array([[1.5, 0.1], [], None]),
        pa.array([{"a": 1}, {"a": None}], pa.struct([("a", pa.int64())])),
    ],
    ids=lambda array: str(array.type),
)
def test_values_come_back_in_their_type(array: pa.Array, pools: ToyPools, gateway: Serve) -> None:
    signature = Signature(inputs=(Column(name="a", type=array.type),))
    pools.add("m", Echo(), signature=signature, result_type=array.type)
    batch = pa.record_batch({"a": array})
    client = gateway()
    response = predict(client, stream(batch, batch.slice(1)))
    assert response.status_code == 200, response.text
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.column_names == ["prediction"]
    assert table["prediction"].type == array.type
    assert table["prediction"].to_pylist() == array.to_pylist() + array[1:].to_pylist()
    kind = {"Content-Type": ARROW_STREAM}
    assert client.post("/invocations", content=stream(batch), headers=kind).status_code == 200
    assert len(pa.ipc.open_stream(predict(client, stream(batch.slice(0, 0))).content).read_all()) == 0


def test_dictionaries_views_and_extension_types_are_what_they_hold() -> None:
    columns = {
        "d": pa.array(["x", "y", "x"]).dictionary_encode(),
        "v": pa.array(["x", "y", None], pa.string_view()),
        "e": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, 1], pa.int8())),
    }
    table = table_of(stream(pa.record_batch(columns)), Settings())
    assert table["d"].to_pylist() == ["x", "y", "x"]
    assert table["e"].type == pa.int8()


def bombs() -> dict[str, bytes]:
    nothing = pa.record_batch({"a": pa.nulls(1 << 26)})
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int8()), pa.array(["x" * 100_000]))
    good = stream(pa.record_batch({"a": [1, 2]}))
    return {
        "compressed": stream(pa.record_batch({"a": [0] * 10_000}), compression="zstd"),
        "rows without bytes": stream(nothing),
        "a dictionary of nulls": stream(
            pa.record_batch({"a": pa.DictionaryArray.from_arrays(pa.array([0]), pa.nulls(1 << 26))})
        ),
        "one text very often": stream(pa.record_batch({"a": text})),
        "cut short": good[: len(good) // 2],
        "no stream": b"\0" * 64,
        "nothing": b"",
    }


@pytest.mark.parametrize("case", bombs())
def test_what_becomes_much_more_than_it_is_or_is_broken_is_refused(case: str) -> None:
    with pytest.raises(MalformedRequestError):
        table_of(bombs()[case], Settings())


def test_errors_are_of_one_form(pools: ToyPools, gateway: Serve) -> None:
    pools.add("m", Echo(), signature=Signature(inputs=(Column(name="a", type=pa.int64()),)))
    client = gateway()
    assert predict(client, b"{}", "application/json").status_code == 415
    for body in (b"", stream(pa.record_batch({"b": [1]}))):
        response = predict(client, body)
        assert response.status_code == 400
        assert set(response.json()) == {"condition", "message", "request_id"}
