# SPDX-License-Identifier: Apache-2.0
"""Generated columns through a model that returns its input: what goes in comes out."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from sparkmodel.binding import bind
from sparkmodel.schema import Column
from sparkmodel.scoring.inputs import build_input
from sparkmodel.scoring.outputs import result_schema, to_array

WHAT = "Cannot score with 'echo'"
FLOATS = st.floats(width=64)
TEXTS = st.text("aZ0 \n\x00'\u00e4\u20ac\U0001f600", max_size=8)
PAIR = pa.struct([("a", pa.int64()), ("b", pa.string())])


def integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int8(): integers(8),
    pa.int16(): integers(16),
    pa.int32(): integers(32),
    pa.int64(): integers(64),
    pa.float32(): st.floats(width=32),
    pa.float64(): FLOATS,
    pa.string(): TEXTS,
    pa.binary(): st.binary(max_size=8),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.decimal128(12, 3): st.decimals(-(10**8), 10**8, places=3).map(lambda value: value + decimal.Decimal(0)),
    pa.list_(pa.float64()): st.lists(st.floats(allow_nan=False), max_size=4),
    pa.list_(pa.string()): st.lists(TEXTS, max_size=4),
    PAIR: st.fixed_dictionaries({"a": integers(64), "b": TEXTS}),
}


def same(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and bool(left == right)


def to_batch(values: list[Any], type_: pa.DataType) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, type_)], names=["a"])


def through(batch: pa.RecordBatch, type_: pa.DataType, model: Any) -> list[Any]:
    """The answer of a model with one column in and one out."""
    binding = bind(WHAT, batch.schema, True, (Column(name="a", type=type_),))
    result = model(build_input(WHAT, batch, binding))
    array = to_array(WHAT, result, batch.num_rows, type_)
    answer = pa.RecordBatch.from_arrays([array], schema=result_schema(type_))
    answer.validate(full=True)
    values: list[Any] = answer.column("prediction").to_pylist()
    return values


def nan_is_null(values: list[Any], type_: pa.DataType) -> list[Any]:
    """A float column of pandas has one kind of missing value, and it is a number."""
    return [float("nan") if value is None and pa.types.is_floating(type_) else value for value in values]


@pytest.mark.parametrize("type_", VALUES, ids=str)
@settings(max_examples=40, deadline=None, database=None)
@given(data=st.data())
@pytest.mark.fault("F21")
def test_a_column_of_pandas_comes_back_exactly(type_: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[type_], min_size=1, max_size=6))
    batch = to_batch(values, type_)
    expected = nan_is_null(batch.column(0).to_pylist(), type_)
    assert same(through(batch, type_, lambda frame: frame["a"]), expected)
    if not pa.types.is_struct(type_):  # a frame's columns are the fields of a struct, not structs
        assert same(through(batch, type_, lambda frame: frame), expected)


@pytest.mark.parametrize("type_", VALUES, ids=str)
@settings(max_examples=30, deadline=None, database=None)
@given(data=st.data())
def test_arrow_values_come_back_exactly_null_or_not(type_: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[type_], min_size=1, max_size=6))
    array = pa.array(values, type_)
    assert same(to_array(WHAT, array, len(values), type_).to_pylist(), array.to_pylist())
    chunks = pa.chunked_array([array[:1], array[1:]])
    assert same(to_array(WHAT, chunks, len(values), type_).to_pylist(), array.to_pylist())


@settings(max_examples=60, deadline=None, database=None)
@given(
    rows=st.integers(1, 5),
    shape=st.lists(st.integers(1, 3), max_size=2),
    dtype=st.sampled_from([np.float64, np.float32, np.int64, np.int8]),
    data=st.data(),
)
def test_a_tensor_comes_back_exactly(rows: int, shape: list[int], dtype: Any, data: st.DataObject) -> None:
    count = rows * math.prod(shape)
    numbers = data.draw(st.lists(st.integers(-128, 127), min_size=count, max_size=count))
    tensor = np.array(numbers, dtype).reshape(rows, *shape)
    type_ = pa.from_numpy_dtype(dtype)
    for _ in shape:
        type_ = pa.list_(type_)
    batch = to_batch(tensor.tolist(), type_)
    column = Column(name=None, type=pa.from_numpy_dtype(dtype), shape=(-1, *shape))
    given_ = build_input(WHAT, batch, bind(WHAT, batch.schema, True, (column,)))
    assert given_.dtype == dtype
    np.testing.assert_array_equal(given_, tensor)
    assert to_array(WHAT, given_, rows, type_).to_pylist() == tensor.tolist()


@settings(max_examples=60, deadline=None, database=None)
@given(values=st.lists(st.none() | integers(64), min_size=1, max_size=8))
def test_every_way_that_pandas_writes_bigints_gives_the_same(values: list[int | None]) -> None:
    for series in (pd.Series(values, dtype="Int64"), pd.Series(values, dtype=object)):
        assert to_array(WHAT, series, len(values), pa.int64()).to_pylist() == values


@settings(max_examples=40, deadline=None, database=None)
@given(values=st.lists(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), min_size=1))
def test_a_moment_comes_back_in_every_unit_that_can_hold_it(values: list[datetime.datetime]) -> None:
    series = pd.Series(np.array(values, "datetime64[ns]"))
    assert to_array(WHAT, series, len(values), pa.timestamp("us")).to_pylist() == values
