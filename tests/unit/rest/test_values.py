# SPDX-License-Identifier: Apache-2.0
"""Predictions as JSON, as MLflow's server writes them."""

from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.pyfunc.scoring_server import predictions_to_json

from sparkmodel.rest import values

NOON = datetime.datetime(2024, 7, 1, 12, 0, 0, 250)

# what a model gives, what it is in Arrow
SAME: list[tuple[Any, pa.Array]] = [
    (np.array([0.1, 1e16, 1e-7, -0.0]), pa.array([0.1, 1e16, 1e-7, -0.0])),
    (np.array([0.1, 2.5], np.float32), pa.array([0.1, 2.5], pa.float32())),
    (np.array([2**53 + 1]), pa.array([2**53 + 1])),
    (np.array([True, False]), pa.array([True, False])),
    (["é", None, "\u2028"], pa.array(["é", None, "\u2028"])),
    ([b"ab", b"x" * 60], pa.array([b"ab", b"x" * 60])),
    (np.array([[1.0, 2.0]]), pa.array([[1.0, 2.0]])),
    ([NOON], pa.array([NOON])),
    ([NOON.date()], pa.array([NOON.date()])),
    ([{"k": 1}], pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))),
    ([{"a": [b"x"], "b": None}], pa.array([{"a": [b"x"], "b": None}])),
    (pd.DataFrame({"x": [1, 2], "y": ["a", None]}), pa.array([{"x": 1, "y": "a"}, {"x": 2, "y": None}])),
    (pd.DataFrame({"t": [pd.Timestamp(NOON)], "u": [b"x"]}), pa.array([{"t": NOON, "u": b"x"}])),
]


@pytest.mark.parametrize(("given", "array"), SAME, ids=lambda one: str(getattr(one, "type", "")))
def test_the_bytes_are_mlflows(given: Any, array: pa.Array) -> None:
    import io

    theirs = io.StringIO()
    predictions_to_json(given, theirs)
    expected = theirs.getvalue().replace('"y": NaN', '"y": null')  # pandas has no None among its texts
    ours = values.dumps({"predictions": values.ready(pa.chunked_array([array]))})
    assert ours == expected.encode()


def test_an_instant_is_the_clock_on_the_wall() -> None:
    summer = pa.chunked_array([pa.array([NOON, None], pa.timestamp("us", "UTC"))])
    assert values.ready(summer, "Europe/Vienna") == ["2024-07-01T14:00:00.000250", None]
    nested = pa.chunked_array([pa.array([{"t": [NOON]}], pa.struct([("t", pa.list_(pa.timestamp("us", "UTC")))]))])
    assert values.ready(nested) == [{"t": ["2024-07-01T12:00:00.000250"]}]


def test_decimals_keep_their_digits_as_text() -> None:
    number = decimal.Decimal("12345678901234567.10")
    assert values.ready(pa.chunked_array([pa.array([number])])) == ["12345678901234567.10"]


def test_nan_is_null_at_any_depth() -> None:
    deep = {"a": [float("nan"), {"b": float("-inf")}], "c": 1.5}
    assert values.dumps(deep) == b'{"a": [null, {"b": null}], "c": 1.5}'
    assert json.loads(values.dumps(deep, "literal"))["a"][1] == {"b": float("-inf")}
