# SPDX-License-Identifier: Apache-2.0
"""What becomes of the results of a function written for `predict_batch_udf`."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import WrongResultTypeError, WrongRowCountError
from sparkmodel.loaders.batch_model import BatchModel, make_batch_model
from sparkmodel.scoring.outputs import to_array
from tests.unit.loaders.test_batch_model import DAY, DOUBLE, NOON, PARIS, SCALARS, WHAT, as_batch


def score(result: Any, type_: pa.DataType, rows: int = 2) -> pa.Array:
    """The result of a function on its whole way to Arrow."""
    model = make_batch_model(lambda: lambda x: result, None, type_, WHAT)
    batch = as_batch(pa.array(range(rows)))
    return to_array(WHAT, model.predict(batch), rows, type_)


PAIR = pa.struct([("a", DOUBLE), ("v", pa.list_(pa.float32()))])
PAIRS = [{"a": 1.0, "v": [1.0, 2.0]}, {"a": 2.0, "v": [3.0, 4.0]}]


@pytest.mark.parametrize(
    ("result", "type_", "expected"),
    [
        (np.array([1, 2]), pa.int64(), [1, 2]),
        (np.array([[1.5], [2.5]], np.float32), pa.float32(), [1.5, 2.5]),
        (np.array(["a", "é"]), pa.string(), ["a", "é"]),
        (np.array(["a", None], dtype=object), pa.string(), ["a", None]),
        (np.array(["a", np.nan], dtype=object), pa.string(), ["a", None]),
        (np.array([1.0, np.nan]), pa.int64(), [1, None]),
        (np.array([2**63 - 1, None], dtype=object), pa.int64(), [2**63 - 1, None]),
        (np.array([2, pd.NA, 2.0, np.nan], dtype=object)[:2], pa.int64(), [2, None]),
        (np.array([True, np.nan], dtype=object), pa.bool_(), [True, None]),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), pa.list_(DOUBLE), [[1.0, 2.0], [3.0, 4.0]]),
        ({"v": np.array([[1, 2], [3, 4]], np.float32), "a": np.array([1.0, 2.0])}, PAIR, PAIRS),
        ([{"v": np.array(row["v"]), "a": np.float64(row["a"])} for row in PAIRS], PAIR, PAIRS),
        ([PAIRS[0], {"a": 2.0}], PAIR, [PAIRS[0], {"a": 2.0, "v": None}]),
        ([{"a": 1.0, "v": np.array([])}, {"v": None, "a": None}], PAIR, [{"a": 1.0, "v": []}, {"a": None, "v": None}]),
    ],
)
def test_results_in_the_forms_of_pyspark(result: Any, type_: pa.DataType, expected: Any) -> None:
    assert score(result, type_).to_pylist() == expected


CUBE = np.arange(8.0).reshape(2, 2, 2)
NESTED = pa.struct([("in", pa.struct([("x", pa.int64())])), ("t", pa.list_(pa.list_(DOUBLE)))])


@pytest.mark.parametrize(
    ("result", "type_", "expected"),
    [
        (np.array([True, False]), pa.bool_(), [True, False]),
        (np.array([1, 0]), pa.bool_(), [True, False]),
        (np.array([DAY, None]), pa.date32(), [DAY, None]),
        (np.array(["2024-07-01", "NaT"], "datetime64[D]"), pa.date32(), [DAY, None]),
        (np.array([NOON, "NaT"], "datetime64[us]"), pa.timestamp("us"), [NOON, None]),
        (np.array([decimal.Decimal("1.10"), None]), pa.decimal128(10, 2), [decimal.Decimal("1.10"), None]),
        (np.array([b"\xff", None], dtype=object), pa.binary(), [b"\xff", None]),
        (np.array([{"a": 1}, {}]), pa.map_(pa.string(), pa.int64()), [[("a", 1)], []]),
        (CUBE, pa.list_(pa.list_(DOUBLE)), CUBE.tolist()),
        ([{"in": {"x": i}, "t": CUBE[i].tolist()} for i in (0, 1)], NESTED, None),
        ({"in": [{"x": 0}, {"x": 1}], "t": CUBE}, NESTED, None),
        (["a", None], pa.string(), ["a", None]),
        (pd.Series([1.0, 2.0]), DOUBLE, [1.0, 2.0]),
        (pa.array([1.0, None]), DOUBLE, [1.0, None]),
    ],
)
def test_results_that_pyspark_refuses(result: Any, type_: pa.DataType, expected: Any) -> None:
    expected = expected or [{"in": {"x": i}, "t": CUBE[i].tolist()} for i in (0, 1)]
    assert score(result, type_).to_pylist() == expected


@pytest.mark.parametrize(
    ("result", "type_"),
    [
        (np.zeros(3), DOUBLE),
        (np.zeros((3, 2)), pa.list_(DOUBLE)),
        ({"a": np.zeros(2), "v": np.zeros((3, 2), np.float32)}, PAIR),
        (PAIRS[:1], PAIR),
    ],
)
def test_a_wrong_number_of_rows_is_an_error_here_and_in_pyspark(result: Any, type_: pa.DataType) -> None:
    with pytest.raises(WrongRowCountError, match="rows for a batch of 2"):
        score(result, type_)


@pytest.mark.parametrize(
    ("result", "type_", "fact"),
    [
        (np.zeros((2, 2)), DOUBLE, r"the result of the model has shape \(2, 2\), double takes 1 dimensions"),
        (np.zeros(2), pa.list_(DOUBLE), r"has shape \(2,\), list<item: double> takes 2 dimensions"),
        (CUBE, pa.list_(DOUBLE), r"has shape \(2, 2, 2\)"),
        (np.zeros((2, 2)), PAIR, "returned a ndarray for a struct"),
        ({"a": np.zeros(2)}, PAIR, r"returned \['a'\] for the fields \['a', 'v'\]"),
        ({"a": np.zeros(2), "v": np.zeros((2, 2)), "w": np.zeros(2)}, PAIR, r"for the fields \['a', 'v'\]"),
        ({"a": np.zeros(2), "v": np.zeros(2)}, PAIR, r"'v' of the model has shape \(2,\)"),
        ({"a": np.zeros((2, 2)), "v": np.zeros((2, 2))}, PAIR, r"'a' of the model has shape \(2, 2\)"),
        ([PAIRS[0], {"a": 1.0, "w": []}], PAIR, r"the keys \['w'\] are no fields, \['v'\] are missing"),
        (np.array([0.5, 1.0]), pa.int64(), "does not fit int64"),
    ],
)
def test_a_result_of_another_form_is_an_error(result: Any, type_: pa.DataType, fact: str) -> None:
    with pytest.raises(WrongResultTypeError, match=fact):
        score(result, type_)


def test_times_are_wall_clock_both_ways() -> None:
    utc = pa.timestamp("us", "UTC")
    stamps = pa.array([NOON, None], PARIS)
    model = BatchModel(lambda x: x, None, utc, WHAT)
    assert to_array(WHAT, model.predict(as_batch(stamps)), 2, utc, time_zone="Europe/Paris") == stamps.cast(utc)


def test_the_factory_runs_once_and_the_function_for_each_batch() -> None:
    calls: list[str] = []

    def factory() -> Callable[..., Any]:
        calls.append("factory")

        def predict(x: Any) -> Any:
            calls.append(f"{len(x)} rows")
            return x

        return predict

    model = make_batch_model(factory, None, DOUBLE, WHAT)
    model.predict(as_batch(SCALARS["double"]))
    model.predict(as_batch(SCALARS["double"].slice(1)))
    assert calls == ["factory", "2 rows", "1 rows"]
