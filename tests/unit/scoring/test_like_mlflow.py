# SPDX-License-Identifier: Apache-2.0
"""Columns are picked as MLflow does it, and what is missing or would be lost is treated as everywhere."""

from __future__ import annotations

import collections
import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest

from sparkmodel.errors import WrongResultTypeError
from sparkmodel.scoring.outputs import to_array
from tests.unit.scoring.toys import same

NAN, NA = float("nan"), pd.NA
INT, DOUBLE, TEXT, BOOL, DAY = pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.date32()
BIG = 2**53 + 1
Named = collections.namedtuple("Named", "a b")


class Checked(pydantic.BaseModel):
    a: int
    b: str | None = None


def convert(result: Any, type_: pa.DataType, rows: int = 2) -> list[Any]:
    values: list[Any] = to_array(
        "Cannot score", result, rows, type_, time_zone="Europe/Paris", like_mlflow=True
    ).to_pylist()
    return values


@pytest.mark.parametrize(
    ("result", "type_", "wanted"),
    [
        (pd.Series([1.0, NAN]), INT, [1, None]),
        ([BIG, NAN], INT, [BIG, None]),
        ([BIG, NA], INT, [BIG, None]),
        (pd.Series([BIG, NA], dtype="Int64").to_numpy(object), INT, [BIG, None]),
        (pd.Series([BIG, NA], dtype="Int64"), INT, [BIG, None]),
        (pa.table({"a": ["x", None], "n": [BIG, None]}), INT, [BIG, None]),
        ([True, NA], BOOL, [True, None]),
        ([1.5, NAN], DOUBLE, [1.5, NAN]),
        ([1.5, None], DOUBLE, [1.5, None]),
        ([1, NA], DOUBLE, [1.0, None]),
        (np.array([0.25, NAN]), TEXT, ["0.25", None]),
        (["a", NAN], TEXT, ["a", None]),
        ([{"a": 1}, {"b": 2.5}], DOUBLE, [1.0, None]),
        ([{"a": 1}, None], INT, [1, None]),
        ([Checked(a=1), Checked(a=2, b="x")], INT, [1, 2]),
        ([Named(1, "x"), Named(2, "y")], TEXT, ["1", "2"]),
        (pd.DataFrame({"n": pd.Series([1, 0], dtype="Sparse[int]"), "s": ["x", "y"]}), INT, [1, 0]),
        (np.ma.masked_array([1, 2], [True, False]), INT, [None, 2]),
        (np.array(["a", "b"], dtype=np.dtypes.StringDType()), TEXT, ["a", "b"]),
        (np.array([1.5, 2.5], ">f8"), DOUBLE, [1.5, 2.5]),
        (np.matrix([[1.5], [2.5]]), DOUBLE, [1.5, 2.5]),
        ([np.array(1.5), np.array([2.5])], DOUBLE, [1.5, 2.5]),
        (pd.Series([1, None], dtype="category"), INT, [1, None]),
        ([0.1, NAN], pa.decimal128(10, 2), [decimal.Decimal("0.10"), None]),
        (np.array(["9999-12-31", "NaT"], "datetime64[D]"), DAY, [datetime.date(9999, 12, 31), None]),
        ([datetime.timedelta(1), None], pa.duration("us"), [datetime.timedelta(1), None]),
        ([[1, None], [2, None]], pa.list_(INT), [[1, None], [2, None]]),
        ([[1, None], [2, 3]], pa.list_(INT), [[1, None], [2, 3]]),
        ([[1.5, "a"], [2.5, "b"]], pa.list_(DOUBLE), [[1.5], [2.5]]),
        ([np.array([1.0]), np.array([1.0, 2.0])], pa.list_(DOUBLE), [[1.0], [1.0, 2.0]]),
        ([None, [1.0, 2.0]], pa.list_(DOUBLE), [None, [1.0, 2.0]]),
        ([[], []], pa.list_(DOUBLE), [[], []]),
        ([None, None], pa.list_(DOUBLE), [None, None]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_values_come_back_as_they_were(result: Any, type_: pa.DataType, wanted: list[Any]) -> None:
    assert same(convert(result, type_), wanted)


@pytest.mark.parametrize(
    ("result", "type_"),
    [
        (pd.Series([1.5, NAN]), INT),
        ([BIG, 0.5], DOUBLE),
        (pd.DataFrame({"a": [BIG, 1], "b": [0.5, 1.0]}), pa.list_(DOUBLE)),
        ([0.123, 1], pa.decimal128(10, 2)),
        ([datetime.datetime(2024, 7, 1, 23, 30), None], DAY),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_would_be_lost_is_refused(result: Any, type_: pa.DataType) -> None:
    with pytest.raises(WrongResultTypeError, match="row 0 is "):
        convert(result, type_)
