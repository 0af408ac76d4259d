# SPDX-License-Identifier: Apache-2.0
"""CSV in the types of a signature: what Arrow's reader would make another value of, or refuse."""

from __future__ import annotations

import datetime
from typing import Any

import httpx
import pyarrow as pa
import pytest

from sparkmodel.rest.mlflow.leaves import array_of
from tests.unit.rest.mlflow.models import Serve, told
from tests.unit.rest.toys import ToyPools

AT = pa.timestamp("us", "America/New_York")
TEXT, LONG, FLOAT, DOUBLE = pa.string(), pa.int64(), pa.float32(), pa.float64()
LONG_TEXT = "x" * (2 << 20)  # longer than a block of Arrow's reader

TAKEN: list[tuple[list[pa.DataType], str, list[str]]] = [
    ([TEXT, LONG], "a,b\nNA,1\nnull,NA\nnan,null\n", ["['NA', 1]", "['null', None]", "['nan', None]"]),
    ([TEXT, LONG], 'a,b\n"",1\n,2\n', ["[nan, 1]", "[nan, 2]"]),
    ([DOUBLE, TEXT], "a,b\nNaN,x\n-inf,x\n-0.0,x\n", ["[nan, 'x']", "[-inf, 'x']", "[-0.0, 'x']"]),
    ([FLOAT, TEXT], "a,b\n0.1,x\ninf,x\n", ["[0.10000000149011612, 'x']", "[inf, 'x']"]),
    ([LONG, TEXT], "B,c,A\nx,1,9223372036854775807\n", ["[9223372036854775807, 'x']"]),
    ([LONG, TEXT], "\ufeffa,b\n1,x\n", ["[1, 'x']"]),
    ([LONG, TEXT], '\n"a","b"\n1,"x"\n', ["[1, 'x']"]),
    ([LONG, TEXT], f'a,b\n1,"{LONG_TEXT}"\n', [repr([1, LONG_TEXT])]),
]
REFUSED: list[tuple[list[pa.DataType], bytes, str]] = [
    ([FLOAT], b"a\n1e39\n", "INVALID_PARAMETER_VALUE"),
    ([LONG], b"a\n9223372036854775808\n", "INVALID_PARAMETER_VALUE"),
    ([LONG], b"a,a\n1,2\n", "INVALID_PARAMETER_VALUE"),
    ([LONG], b"b\n1\n", "INVALID_PARAMETER_VALUE"),
    ([TEXT], b"a\n\xff\n", "BAD_REQUEST"),
    ([TEXT], b"a\n" + b"x\n" * 10_000 + b"\xff\n", "BAD_REQUEST"),
]


def post(client: httpx.Client, body: Any) -> httpx.Response:
    return client.post("/invocations", content=body, headers={"Content-Type": "text/csv"})


@pytest.mark.parametrize(("types", "body", "seen"), TAKEN, ids=range(len(TAKEN)))
def test_a_value_is_what_the_text_says(
    types: list[pa.DataType], body: str, seen: list[str], pools: ToyPools, gateway: Serve
) -> None:
    told(pools, *types)
    response = post(gateway(), body.encode())
    assert response.status_code == 200, response.text
    assert response.json()["predictions"] == seen


@pytest.mark.parametrize(("types", "body", "code"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_an_error_of_the_request(
    types: list[pa.DataType], body: bytes, code: str, pools: ToyPools, gateway: Serve
) -> None:
    told(pools, *types)
    response = post(gateway(), body)
    assert (response.status_code, response.json()["error_code"]) == (400, code)


@pytest.mark.parametrize(("text", "type_"), [("2055-07-01T12:00:00Z", pa.timestamp("us")), ("2055-07-01 08:00:00", AT)])
def test_a_time_after_2037_is_of_the_zones_summer(text: str, type_: pa.DataType) -> None:
    (value,) = array_of([text], type_, AT.tz)
    assert value.as_py().replace(tzinfo=None) == datetime.datetime(2055, 7, 1, 8)
    if type_.tz:
        assert value.cast(pa.timestamp("us", "UTC")).as_py().hour == 12
