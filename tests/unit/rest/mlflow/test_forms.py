# SPDX-License-Identifier: Apache-2.0
"""All forms that rows come in give the model the same."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.schema import Column, Signature
from tests.unit.rest.mlflow.models import Serve, Sum, failed, score, told
from tests.unit.rest.toys import ToyPools

FORMS: dict[str, Any] = {
    "split": {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5], [3, None]]}},
    "split with an index": {"dataframe_split": {"index": [7, 9], "columns": ["b", "a"], "data": [[2.5, 1], [None, 3]]}},
    "split by position": {"dataframe_split": {"data": [[1, 2.5], [3, None]]}},
    "records": {"dataframe_records": [{"a": 1, "b": 2.5}, {"a": 3, "b": None}]},
    "records with a gap": {"dataframe_records": [{"b": 2.5, "a": 1}, {"a": 3}]},
    "an extra column": {"dataframe_records": [{"a": 1, "b": 2.5, "c": {}}, {"a": 3, "c": 9}]},
    "instances": {"instances": [{"a": 1, "b": 2.5}, {"a": 3, "b": None}]},
    "inputs by column": {"inputs": {"a": [1, 3], "b": [2.5, None]}},
    "inputs by row": {"inputs": [{"a": 1, "b": 2.5}, {"a": 3, "b": None}]},
    "params that it has not": {"inputs": {"a": [1, 3], "b": [2.5, None]}, "params": {"k": 1}},
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_the_same_in_each_form(form: str, pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.int64(), pa.float64())
    assert score(gateway(), FORMS[form]) == ["[1, 2.5]", "[3, nan]"]


def test_csv_and_parquet_are_read_in_the_types_of_the_signature(pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.int32(), pa.string(), pa.timestamp("ns"), pa.binary())
    client = gateway()
    text = "d,a,b,c,e\nYWI=,1,2024-01-01,2024-01-01,x\n,2,,2024-01-02T03:04:05,x\n"
    response = client.post("/invocations", content=text, headers={"Content-Type": "text/csv; charset=utf-8"})
    expected = [
        "[1, '2024-01-01', Timestamp('2024-01-01 00:00:00'), b'ab']",
        "[2, nan, Timestamp('2024-01-02 03:04:05'), None]",
    ]
    assert response.json() == {"predictions": expected}
    frame = pd.DataFrame(
        {
            "c": pd.to_datetime(["2024-01-01", "2024-01-02T03:04:05"], format="ISO8601"),
            "a": pd.array([1, 2], "int32"),
            "b": ["2024-01-01", None],
            "d": [b"ab", None],
        },
        index=pd.Index([5, 6], name="a_label"),
    )
    file = io.BytesIO()
    frame.to_parquet(file)
    kind = {"Content-Type": "application/vnd.apache.parquet"}
    assert client.post("/invocations", content=file.getvalue(), headers=kind).json() == {"predictions": expected}


def test_a_model_without_a_signature_gets_what_pandas_makes_of_rows(pools: ToyPools, gateway: Serve) -> None:
    pools.add("sum", Sum())
    client = gateway()
    assert score(client, {"dataframe_records": [{"a": 1, "b": 2}, {"a": None, "b": 2.5}]})[0] == 3.0
    assert score(client, {"instances": [[1, 2], [3, 4]]}) == [3.0, 7.0]
    assert score(client, {"dataframe_records": []}) == []
    csv = client.post("/invocations", content="a,b\n1,2\n", headers={"Content-Type": "text/csv"})
    assert csv.json() == {"predictions": [3.0]}


def test_columns_without_names_go_by_position(pools: ToyPools, gateway: Serve) -> None:
    inputs = (Column(name=None, type=pa.float64()), Column(name=None, type=pa.float64()))
    pools.add("sum", Sum(), signature=Signature(inputs=inputs))
    client = gateway()
    assert score(client, {"dataframe_split": {"columns": ["y", "x", "z"], "data": [[1, 2, 4]]}}) == [3.0]
    assert score(client, {"inputs": [[1, 2], [3, 4]]}) == [3.0, 7.0]


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_tensor_comes_as_nested_lists(key: str, pools: ToyPools, gateway: Serve) -> None:
    tensor = Column(name=None, type=pa.int64(), shape=(-1, 2, 1))
    pools.add("sum", Sum(), signature=Signature(inputs=(tensor,)), result_type=pa.list_(pa.float64()))
    client = gateway()
    assert score(client, {key: [[[1], [2]], [[3], [2**53 + 1]]]}) == [[3.0], [float(2**53 + 4)]]
    wrong = failed(client, {key: [[[1.5], [2]]]})
    assert (wrong["status"], wrong["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_several_tensors_come_by_name(pools: ToyPools, gateway: Serve) -> None:
    x, y = Column(name="x", type=pa.float32(), shape=(-1, 2)), Column(name="y", type=pa.int64(), shape=(-1,))
    from tests.unit.rest.mlflow.models import Told

    pools.add("told", Told(), signature=Signature(inputs=(x, y)), result_type=pa.string())
    client = gateway()
    expected = ["[[0.5, 1.0], 7]"]
    assert score(client, {"inputs": {"y": [7], "x": [[0.5, 1]]}}) == expected
    assert score(client, {"instances": [{"x": [0.5, 1], "y": 7}]}) == expected


def test_the_path_names_the_model_and_its_version(pools: ToyPools, gateway: Serve) -> None:
    pools.add("one", Sum())
    pools.add("two", Sum())
    client, body = gateway(), {"instances": [[1, 2]]}
    assert score(client, body, "/models/two/invocations") == [3.0]
    assert score(client, body, "/models/two/versions/1/invocations") == [3.0]
    for path in ("/models/two/versions/2/invocations", "/models/two/versions/x/invocations", "/models/no/invocations"):
        assert failed(client, body, path)["status"] == 404
    assert failed(client, body)["error_code"] == "RESOURCE_DOES_NOT_EXIST"  # two are served, none is named
    assert score(gateway(only="one"), body) == [3.0]


def test_health_and_version_are_as_of_mlflow(pools: ToyPools, gateway: Serve) -> None:
    import mlflow

    client = gateway()
    assert client.get("/ping").status_code == 404
    pools.add("sum", Sum())
    for path, text in (("/ping", "\n"), ("/health", "\n"), ("/version", mlflow.__version__)):
        response = client.get(path)
        assert (response.status_code, response.text) == (200, text)
        assert response.headers["content-type"] == "application/json"
    assert client.get("/invocations").status_code == 405
    assert client.get("/invocations").json() == {"detail": "Method Not Allowed"}
