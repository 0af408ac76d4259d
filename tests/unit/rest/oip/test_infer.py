# SPDX-License-Identifier: Apache-2.0
"""Tensors in, tensors out: each type exact, in JSON and as bytes, and what is wrong is 400."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from sparkmodel.schema import Column, Signature
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]
HEADER = "Inference-Header-Content-Length"
POINT = pa.struct([("x", pa.int32()), ("at", pa.timestamp("us", "UTC"))])


class Echo:
    """Gives back its first column."""

    def predict(self, data: Any) -> Any:
        return data.iloc[:, 0]


class Sum:
    """The sum of each row."""

    def predict(self, data: Any) -> Any:
        return np.asarray(data, float).reshape(len(data), -1).sum(axis=1)


def echo(pools: ToyPools, type_: pa.DataType) -> None:
    pools.add("m", Echo(), signature=Signature(inputs=(Column(name="a", type=type_),)), result_type=type_)


def tensor(data: Any, datatype: str, shape: list[int] | None = None, name: str = "a", **rest: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data, **rest}


def infer(client: httpx.Client, *inputs: Any, **rest: Any) -> httpx.Response:
    return client.post("/v2/models/m/infer", json={"inputs": list(inputs), **rest})


def output(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    one: dict[str, Any] = response.json()["outputs"][0]
    return one


# type, datatype, data, and how it comes back where that differs
EXACT: list[tuple[pa.DataType, str, list[Any]]] = [
    (pa.bool_(), "BOOL", [True, False, None]),
    (pa.int8(), "INT8", [-128, 127]),
    (pa.int16(), "INT16", [-(2**15), None]),
    (pa.int32(), "INT32", [2**31 - 1, None]),
    (pa.int64(), "INT64", [2**53 + 1, -(2**63), None]),
    (pa.float32(), "FP32", [0.10000000149011612, None]),
    (pa.float64(), "FP64", [0.1, -0.0, 1e308, None]),
    (pa.string(), "BYTES", ["é\0", "", None]),
    (pa.decimal128(20, 2), "BYTES", ["12345678901234567.89", None]),
    (pa.date32(), "BYTES", ["2024-02-29", None]),
    (pa.timestamp("us"), "BYTES", ["2024-01-01T01:02:03.000004", None]),
    (POINT, "BYTES", ['{"x":1,"at":"2024-01-01T00:00:00+00:00"}']),
    (pa.map_(pa.string(), pa.int64()), "BYTES", ['{"k":9007199254740993}']),
]


@pytest.mark.parametrize(("type_", "datatype", "data"), EXACT, ids=[str(one[0])[:20] for one in EXACT])
def test_values_are_exact_in_json(
    type_: pa.DataType, datatype: str, data: list[Any], pools: ToyPools, gateway: Serve
) -> None:
    echo(pools, type_)
    response = infer(gateway(), tensor(data, datatype))
    if type_ == POINT:
        names = [one["name"] for one in response.json()["outputs"]]
        assert names == ["x", "at"]
        assert [one["data"] for one in response.json()["outputs"]] == [[1], ["2024-01-01T00:00:00"]]
    else:
        assert output(response)["data"] == data
        assert output(response)["datatype"] == datatype


@pytest.mark.parametrize(
    ("type_", "datatype", "values"),
    [
        (pa.bool_(), "BOOL", np.array([1, 0], "u1")),
        (pa.int32(), "INT32", np.array([2**31 - 1, -1], "<i4")),
        (pa.int64(), "INT64", np.array([2**53 + 1, -(2**63)], "<i8")),
        (pa.float32(), "FP32", np.array([0.1, np.nan], "<f4")),
        (pa.float64(), "FP64", np.array([0.1, np.inf], "<f8")),
    ],
)
def test_bytes_come_back_as_they_went(
    type_: pa.DataType, datatype: str, values: Any, pools: ToyPools, gateway: Serve
) -> None:
    echo(pools, type_)
    raw = values.tobytes()
    one = {"name": "a", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    response = post_bytes(gateway(), {"inputs": [one], "parameters": {"binary_data_output": True}}, raw)
    size = int(response.headers[HEADER])
    assert json.loads(response.content[:size])["outputs"][0]["parameters"] == {"binary_data_size": len(raw)}
    assert response.content[size:] == raw


def post_bytes(client: httpx.Client, told: Any, raw: bytes, length: int | str | None = None) -> httpx.Response:
    header = json.dumps(told).encode()
    headers = {HEADER: str(len(header) if length is None else length)}
    return client.post("/v2/models/m/infer", content=header + raw, headers=headers)


def test_half_floats_come_in_as_bytes(pools: ToyPools, gateway: Serve) -> None:
    echo(pools, pa.float64())
    raw = np.array([0.5, -2], "<f2").tobytes()
    one = {"name": "a", "datatype": "FP16", "shape": [2, 1], "parameters": {"binary_data_size": 4}}
    assert output(post_bytes(gateway(), {"inputs": [one]}, raw))["data"] == [0.5, -2.0]


def test_texts_and_bytes_have_their_lengths_before_them(pools: ToyPools, gateway: Serve) -> None:
    echo(pools, pa.binary())
    raw = struct.pack("<I2sI0s", 2, b"\xff\0", 0, b"")
    one = {"name": "a", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    client = gateway()
    answer = output(post_bytes(client, {"inputs": [one]}, raw))
    assert (answer["data"], answer["parameters"]) == (["/wA=", ""], {"content_type": "base64"})
    again = tensor(["/wA=", ""], "BYTES", parameters={"content_type": "base64"})
    assert output(infer(client, again))["data"] == ["/wA=", ""]
    wish = [{"name": "prediction", "parameters": {"binary_data": True}}]
    response = infer(client, again, outputs=wish)
    assert response.content[int(response.headers[HEADER]) :] == raw


def test_lists_are_one_tensor_or_json_texts(pools: ToyPools, gateway: Serve) -> None:
    echo(pools, pa.list_(pa.int64()))
    client = gateway()
    assert output(infer(client, tensor([[1, 2], [3, 4]], "INT64", [2, 2])))["shape"] == [2, 2]
    ragged = tensor(["[1]", "[2,3]"], "BYTES")
    response = infer(client, ragged)
    assert response.status_code == 400
    assert "several lengths" in response.json()["error"]
    wish = [{"name": "prediction", "parameters": {"content_type": "json"}}]
    assert output(infer(client, ragged, outputs=wish))["data"] == ["[1]", "[2,3]"]


def test_a_null_among_integers_cannot_be_bytes_and_the_error_names_its_output(pools: ToyPools, gateway: Serve) -> None:
    echo(pools, pa.int64())
    response = infer(gateway(), tensor([1, None], "INT64"), parameters={"binary_data_output": True})
    assert response.status_code == 400
    assert "output 'prediction'" in response.json()["error"]
    assert "NULL" in response.json()["error"]


def test_tensors_and_models_without_a_signature(pools: ToyPools, gateway: Serve) -> None:
    pools.add("m", Sum(), signature=Signature(inputs=(Column(name=None, type=pa.float64(), shape=(-1, 2)),)))
    pools.add("free", Sum())
    client = gateway()
    assert client.get("/v2/models/m").json()["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [-1, 2]}]
    assert output(infer(client, tensor([1, 2, 3, 4], "FP64", [2, 2], "input-0")))["data"] == [3.0, 7.0]
    assert infer(client, tensor([1, 2, 3], "FP64", [1, 3], "input-0")).status_code == 400
    assert client.get("/v2/models/free").json()["inputs"] == []
    for inputs in ([tensor([1, 2], "FP32", [1, 2])], [tensor([1], "INT64"), tensor([2], "FP32", name="b")]):
        response = client.post("/v2/models/free/infer", json={"inputs": inputs})
        assert output(response)["data"] == [3.0]


REFUSED: dict[str, dict[str, Any]] = {
    "no inputs": {"inputs": []},
    "inputs of another kind": {"inputs": {}},
    "no datatype": {"inputs": [{"name": "a", "shape": [1], "data": [1]}]},
    "an unknown datatype": {"inputs": [tensor([1], "STRING")]},
    "no shape": {"inputs": [{"name": "a", "datatype": "INT64", "data": [1]}]},
    "a negative axis": {"inputs": [tensor([1], "INT64", [-1])]},
    "a shape that is no list": {"inputs": [{**tensor([1], "INT64"), "shape": 1}]},
    "a true axis": {"inputs": [tensor([1], "INT64", [True])]},
    "more elements than data": {"inputs": [tensor([1], "INT64", [2**40])]},
    "rows without elements": {"inputs": [{**tensor([], "INT64"), "shape": [2**40, 0]}]},
    "another nesting": {"inputs": [tensor([[1, 2]], "INT64", [2, 1])]},
    "an unknown input": {"inputs": [tensor([1], "INT64", name="A")]},
    "an input twice": {"inputs": [tensor([1], "INT64"), tensor([1], "INT64")]},
    "a wrong datatype": {"inputs": [tensor([1.5], "FP64")]},
    "a value of another kind": {"inputs": [tensor(["1"], "INT64")]},
    "a value out of range": {"inputs": [tensor([128], "INT8")]},
    "a text for a number": {"inputs": [tensor(["x"], "BYTES")]},
    "bytes that are not there": {"inputs": [{**tensor([1], "INT64"), "parameters": {"binary_data_size": 8}}]},
    "an unknown output": {"inputs": [tensor([1], "INT64")], "outputs": [{"name": "x"}]},
    "an output twice": {"inputs": [tensor([1], "INT64")], "outputs": [{"name": "prediction"}] * 2},
    "an id that is no text": {"inputs": [tensor([1], "INT64")], "id": 7},
    "a parameter that is a list": {"inputs": [tensor([1], "INT64")], "parameters": {"k": []}},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_request_is_400_and_says_why(case: str, pools: ToyPools, gateway: Serve) -> None:
    echo(pools, pa.int64())
    response = gateway().post("/v2/models/m/infer", json=REFUSED[case])
    assert response.status_code == 400, response.text
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize(
    ("shape", "size", "raw", "length"),
    [
        ([2], 16, b"\0" * 8, None),
        ([1], 8, b"\0" * 9, None),
        ([2**40], 8, b"\0" * 8, None),
        ([1], -1, b"", None),
        ([1], 8, b"\0" * 8, 10**6),
        ([1], 8, b"\0" * 8, 0),
        ([1], 8, b"\0" * 8, "x"),
    ],
)
def test_bytes_that_do_not_fit_are_400(
    shape: list[int], size: int, raw: bytes, length: Any, pools: ToyPools, gateway: Serve
) -> None:
    echo(pools, pa.int64())
    one = {"name": "a", "datatype": "INT64", "shape": shape, "parameters": {"binary_data_size": size}}
    assert post_bytes(gateway(), {"inputs": [one]}, raw, length).status_code == 400


@pytest.mark.parametrize(
    "raw", [b"\x05\0\0\0ab", b"\x01\0\0\0ab", b"\xff\xff\xff\xffab", b"\0", struct.pack("<I1sI", 1, b"a", 9)]
)
def test_texts_cut_short_are_400(raw: bytes, pools: ToyPools, gateway: Serve) -> None:
    echo(pools, pa.string())
    one = {"name": "a", "datatype": "BYTES", "shape": [2 if len(raw) > 6 else 1]}
    one["parameters"] = {"binary_data_size": len(raw)}
    assert post_bytes(gateway(), {"inputs": [one]}, raw).status_code == 400


def test_extensions_that_are_not_served_are_501_and_reserved_parameters_are_not_the_models(
    pools: ToyPools, gateway: Serve
) -> None:
    echo(pools, pa.int64())
    client, one = gateway(), tensor([1], "INT64")
    assert infer(client, one, parameters={"sequence_id": 7}).status_code == 501
    wish = [{"name": "prediction", "parameters": {"classification": 2}}]
    assert infer(client, one, outputs=wish).status_code == 501
    response = infer(client, one, parameters={"priority": 1, "triton_x": True}, id="x")
    assert response.json()["id"] == "x"
    assert response.json()["model_version"] == "1"
    assert infer(client, one, parameters={"timeout": 10**9}).status_code == 200
