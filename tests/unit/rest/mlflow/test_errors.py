# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a request is told in MLflow's words, and is never the server's fault."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import BatchTooLargeError, SparkModelError
from sparkmodel.rest import strict
from sparkmodel.rest.settings import Settings
from tests.unit.rest.mlflow.models import Broken, Empty, Serve, Sum, failed, told
from tests.unit.rest.toys import ToyPools

ROW = b'{"dataframe_records": [{"a": 1}]}'
KAM00 = {"error_code": "BAD_REQUEST", "sqlstate": "KAM00", "error_class": "INVALID_PARAMETER_VALUE"}
KAM01 = {"error_code": "INVALID_PARAMETER_VALUE", "sqlstate": "KAM01", "error_class": "SCHEMA_ENFORCEMENT_FAILED"}

MALFORMED: dict[str, bytes] = {
    "no JSON": b"{",
    "nothing": b"",
    "not UTF-8": b'{"dataframe_records": [{"a": "\xff"}]}',
    "half of a surrogate": b'{"dataframe_records": [{"a": "\\ud800"}]}',
    "half of a surrogate beside NaN": b'{"dataframe_records": [{"a": "\\ud800", "b": NaN}]}',
    "a key twice": b'{"dataframe_records": [{"a": 1, "a": 2}]}',
    "too deep": b'{"instances": ' + b"[" * 101 + b"]" * 101 + b"}",
    "a number that is none": b'{"dataframe_records": [{"a": 1e999}]}',
    "a list": b"[]",
    "a text": b'"x"',
    "no format": b"{}",
    "two formats": b'{"instances": [], "inputs": []}',
    "another one": b'{"columns": ["a"], "data": [[1]]}',
    "records that are an object": b'{"dataframe_records": {"a": [1]}}',
    "a record that is none": b'{"dataframe_records": [{"a": 1}, 2]}',
    "split that is a list": b'{"dataframe_split": [[1]]}',
    "split without data": b'{"dataframe_split": {"columns": ["a"]}}',
    "split with more": b'{"dataframe_split": {"columns": ["a"], "data": [[1]], "dtype": "x"}}',
    "split with names that are none": b'{"dataframe_split": {"columns": [1], "data": [[1]]}}',
    "a row that is longer": b'{"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}',
    "columns of other lengths": b'{"inputs": {"a": [1, 2], "b": [1]}}',
    "params that are a list": b'{"instances": [{"a": 1}], "params": [1]}',
}
MISFITS: dict[str, bytes] = {
    "a column is missing": b'{"dataframe_records": [{"b": 1}]}',
    "no rows": b'{"dataframe_records": []}',
    "a column twice": b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}',
    "too many by position": b'{"dataframe_split": {"data": [[1, 2]]}}',
    "beyond 64 bits": b'{"dataframe_records": [{"a": 18446744073709551617}]}',
    "another type": b'{"dataframe_records": [{"a": {"b": 1}}]}',
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_body_that_is_not_in_the_form_is_a_bad_request(case: str, pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.int64())
    error = failed(gateway(), MALFORMED[case])
    assert error == {"status": 400, **KAM00, "message": error["message"], "request_id": error["request_id"]}


@pytest.mark.parametrize("case", MISFITS)
def test_rows_that_do_not_fit_the_signature_are_an_invalid_value(case: str, pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.int64())
    error = failed(gateway(), MISFITS[case])
    assert error == {"status": 400, **KAM01, "message": error["message"], "request_id": error["request_id"]}


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (None, ROW, 415),
        ("text/plain", ROW, 415),
        ("application/json; charset=latin-1", ROW, 415),
        ("application/json; version=2", ROW, 415),
        ('Application/JSON ; Charset="UTF-8"', ROW, 200),
        ("text/csv", b"", 400),
        ("text/csv", b"b\n1\n", 400),
        ("text/csv", b"a\n1.5\n", 400),
        ("text/csv", b"a\n\xff\n", 400),
        ("text/csv", b"a\n1,2\n", 400),
        ("application/vnd.apache.parquet", b"PAR1", 400),
        ("application/vnd.apache.parquet", b"", 400),
    ],
)
def test_content_types(kind: str | None, body: bytes, status: int, pools: ToyPools, gateway: Serve) -> None:
    told(pools, pa.int64())
    headers = {"Content-Type": kind} if kind else {}
    response = gateway().post("/invocations", content=body, headers=headers)
    assert response.status_code == status, response.text
    if status == 415:
        assert "application/json" in response.text or "charset" in response.text


@pytest.mark.parametrize("body", [b"a,b\n1\n", b"", b"\xff", b'a\n"'])
def test_a_csv_without_a_signature_that_is_none_is_a_bad_request(body: bytes, pools: ToyPools, gateway: Serve) -> None:
    pools.add("sum", Sum())
    response = gateway().post("/invocations", content=body, headers={"Content-Type": "text/csv"})
    assert response.status_code in ((400, 200) if body == b"a,b\n1\n" else (400,)), response.text


def test_a_fault_of_the_model_is_the_servers_and_shows_no_traceback(pools: ToyPools, gateway: Serve) -> None:
    pools.add("broken", Broken())
    error = failed(gateway(), {"instances": [[1]]})
    assert (error["status"], error["error_code"]) == (500, "INTERNAL_ERROR")
    assert "Traceback" not in json.dumps(error)


def test_an_answer_is_strict_json_unless_it_is_to_be_as_mlflows(pools: ToyPools, gateway: Serve) -> None:
    pools.add("empty", Empty())
    body = {"instances": [[1], [2], [3]]}
    assert gateway().post("/invocations", json=body).content == b'{"predictions": [null, null, 1.0]}'
    assert gateway(nan="literal").post("/invocations", json=body).content == b'{"predictions": [NaN, Infinity, 1.0]}'


@pytest.mark.parametrize(
    ("part", "count"), [(b"[],", 1 << 21), (b"{},", 1 << 20), (b'{"a":1},', 1 << 20), (b"1.5,", 1 << 23)]
)
def test_a_body_of_many_small_values_is_refused_before_it_is_parsed(part: bytes, count: int) -> None:
    body = b'{"instances": [' + part * count + b"0]}"
    settings = Settings(max_body_bytes=len(body))
    tracemalloc.start()
    try:
        with pytest.raises(BatchTooLargeError):
            strict.loads(body, settings)
        assert tracemalloc.get_traced_memory()[1] < 5 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": "[[[[{{{{::::,,,,", "b\\"": "\\\\"}', {"a": "[[[[{{{{::::,,,,", 'b"': "\\"}),
        (b'[{"a": 1}, {"a": {"a": [{"a": 2}]}}]', [{"a": 1}, {"a": {"a": [{"a": 2}]}}]),
        (b"[9007199254740993, -9223372036854775808]", [2**53 + 1, -(2**63)]),
        (b'[Infinity, "NaN"]', [float("inf"), "NaN"]),
        (b"[" * 100 + b"]" * 100, None),
    ],
)
def test_what_is_in_texts_counts_for_nothing(body: bytes, value: Any) -> None:
    found = strict.loads(body, Settings())
    assert value is None or found == value


@pytest.mark.parametrize("body", [b'{"a":1,"b":{"a":1,"a":{"x":2}}}', b'[{"\\u0061":1,"a":2}]', b'{"a":NaN,"a":1}'])
def test_a_key_that_is_there_twice_is_named(body: bytes) -> None:
    with pytest.raises(SparkModelError, match="twice: 'a'"):
        strict.loads(body, Settings())
