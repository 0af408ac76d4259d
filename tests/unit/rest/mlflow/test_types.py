# SPDX-License-Identifier: Apache-2.0
"""JSON's values in each type of a signature: exact, or an error."""

from __future__ import annotations

import math
import struct
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.rest.mlflow.leaves import doubles_of
from tests.unit.rest.mlflow.models import Serve, failed, score, told
from tests.unit.rest.toys import ToyPools

PERSON = pa.struct([pa.field("name", pa.string(), nullable=False), pa.field("born", pa.timestamp("ns"))])

# type, JSON's value, what the model sees of it
TAKEN: list[tuple[pa.DataType, Any, str]] = [
    (pa.bool_(), True, "True"),
    (pa.int32(), -(2**31), "-2147483648"),
    (pa.int32(), 7.0, "7"),
    (pa.int64(), 2**53 + 1, "9007199254740993"),
    (pa.int64(), None, "None"),
    (pa.float32(), 0.1, "0.10000000149011612"),
    (pa.float64(), 3, "3.0"),
    (pa.float64(), 0.1, "0.1"),
    (pa.float64(), None, "nan"),
    (pa.string(), "2024-01-01", "'2024-01-01'"),  # pandas' reader of JSON once made dates of such
    (pa.string(), "é\n\0", "'é\\n\\x00'"),
    (pa.binary(), "YWI=\n", "b'ab'"),
    (pa.binary(), None, "None"),
    (pa.timestamp("ns"), "2024-01-01", "Timestamp('2024-01-01 00:00:00')"),
    (pa.timestamp("ns"), "2024-01-01T01:02:03.123456789", "Timestamp('2024-01-01 01:02:03.123456789')"),
    (pa.timestamp("ns"), "2024-01-01T01:00:00+02:00", "Timestamp('2023-12-31 23:00:00')"),
    (pa.timestamp("ns"), "9999-12-31 00:00:00", "Timestamp('9999-12-31 00:00:00')"),
    (pa.timestamp("ns"), None, "None"),
    (pa.date32(), "2024-02-29", "datetime.date(2024, 2, 29)"),
    (pa.date32(), "2024-02-29T00:00:00", "datetime.date(2024, 2, 29)"),
    (pa.decimal128(20, 2), 1.1, "Decimal('1.10')"),
    (pa.decimal128(20, 2), 2**53 + 1, "Decimal('9007199254740993.00')"),
    (pa.decimal128(20, 2), "12345678901234567.89", "Decimal('12345678901234567.89')"),
    (pa.list_(pa.int64()), [2**53 + 1, None], "[9007199254740993, None]"),
    (pa.list_(pa.list_(pa.float64())), [[1, 0.5], []], "[[1.0, 0.5], []]"),
    (pa.list_(pa.binary()), ["YQ==", None], "[b'a', None]"),
    (pa.map_(pa.string(), pa.int64()), {"k": 2**53 + 1}, "{'k': 9007199254740993}"),
    (PERSON, {"name": "a"}, "{'name': 'a'}"),
    (PERSON, {"name": "a", "born": "2024-01-01"}, "{'name': 'a', 'born': datetime.datetime(2024, 1, 1, 0, 0)}"),
    (pa.list_(PERSON), [{"name": "a"}], "[{'name': 'a'}]"),
]

REFUSED: list[tuple[pa.DataType, Any]] = [
    (pa.bool_(), "true"),
    (pa.bool_(), 2),
    (pa.int32(), 2**31),
    (pa.int32(), 1.5),
    (pa.int64(), 2**63),
    (pa.int64(), "7"),
    (pa.float32(), 1e39),
    (pa.float64(), "1.5"),
    (pa.float64(), 2**53 + 1),
    (pa.int64(), 9007199254740993.0),
    (pa.int64(), -1e18),
    (pa.float64(), [1.5]),
    (pa.string(), 7),
    (pa.string(), {}),
    (pa.binary(), "YW"),
    (pa.binary(), "é"),
    (pa.timestamp("ns"), "yesterday"),
    (pa.timestamp("ns"), 0),
    (pa.date32(), "2024-02-30"),
    (pa.date32(), "2024-02-29T23:59:59"),
    (pa.date32(), "2024-02-29 or so"),
    (pa.decimal128(5, 2), "x"),
    (pa.decimal128(20, 2), 123456789012345678.91),
    (pa.list_(pa.int64()), 7),
    (pa.list_(pa.int64()), ["x"]),
    (pa.map_(pa.string(), pa.int64()), [1]),
    (PERSON, {"born": "2024-01-01"}),
    (PERSON, {"name": "a", "age": 7}),
    (PERSON, "a"),
]


@pytest.mark.parametrize(("type_", "value", "seen"), TAKEN, ids=str)
def test_a_value_arrives_as_the_signature_has_it(
    type_: pa.DataType, value: Any, seen: str, pools: ToyPools, gateway: Serve
) -> None:
    told(pools, type_, pa.int64())
    client = gateway()
    assert score(client, {"dataframe_split": {"columns": ["a", "b"], "data": [[value, 1]]}}) == [f"[{seen}, 1]"]
    assert score(client, {"inputs": [{"a": value, "b": 1}]}) == [f"[{seen}, 1]"]


@pytest.mark.parametrize(("type_", "value"), REFUSED, ids=str)
def test_a_value_that_does_not_fit_is_an_error_of_the_request(
    type_: pa.DataType, value: Any, pools: ToyPools, gateway: Serve
) -> None:
    told(pools, type_)
    error = failed(gateway(), {"dataframe_records": [{"a": value}]})
    assert (error["status"], error["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "'a'" in error["message"]


def test_integers_beside_null_stay_exact(pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.int64(), pa.bool_())
    rows = [{"a": 2**53 + 1, "b": None}, {"a": None, "b": True}]
    assert score(gateway(), {"dataframe_records": rows}) == ["[9007199254740993, None]", "[None, True]"]


def test_nan_and_null_are_apart(pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.list_(pa.float64()))
    content = b'{"dataframe_records": [{"a": [NaN, -Infinity, null]}]}'
    response = gateway().post("/invocations", content=content, headers={"Content-Type": "application/json"})
    assert response.json()["predictions"] == ["[[nan, -inf, nan]]"]


def test_an_optional_column_may_be_left_out(pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.int64(), pa.string(), required=False)
    client = gateway()
    assert score(client, {"dataframe_records": [{"a": 1}]}) == ["[1]"]
    assert score(client, {"inputs": {"b": "x"}}) == ["['x']"]


def test_a_list_for_a_column_of_lists_is_one_row(pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.list_(pa.int64()))
    client = gateway()
    assert score(client, {"inputs": {"a": [1, 2]}}) == ["[[1, 2]]"]
    assert score(client, {"inputs": {"a": [[1, 2], [3]]}}) == ["[[1, 2]]", "[[3]]"]


def test_columns_of_doubles_are_made_at_once_and_keep_every_bit() -> None:
    columns = [[0.1, -0.0, 5e-324], [math.nan, math.inf, -1.7976931348623157e308]]
    made = doubles_of(columns)
    assert made is not None
    for array, values in zip(made, columns, strict=True):
        array.validate(full=True)
        assert struct.pack("3d", *array.to_pylist()) == struct.pack("3d", *values)
    assert doubles_of([[0.5], [None]]) is doubles_of([[0.5, 2]]) is doubles_of([[True]]) is doubles_of([[]]) is None
