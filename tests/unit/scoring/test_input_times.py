# SPDX-License-Identifier: Apache-2.0
"""Dates and times on their way to a model: the session's clock at every depth, and years that nanoseconds lack."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.binding import bind
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import Column
from sparkmodel.scoring.inputs import Form, build_input
from tests.unit.scoring.test_inputs import I64, TEXT, WHAT, build

ZONE = "America/New_York"
INSTANT = pa.timestamp("us", ZONE)
EVENING = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)  # 22:04:05 of the day before there
WALL = datetime.datetime(2020, 1, 1, 22, 4, 5)
NESTED: list[tuple[Any, pa.DataType, Any]] = [
    # a value, its type, how to get at the time in it
    ([EVENING], pa.list_(INSTANT), lambda v: v[0]),
    ([[EVENING, None]], pa.list_(pa.list_(INSTANT)), lambda v: v[0][0]),
    ({"x": EVENING}, pa.struct([("x", INSTANT)]), lambda v: v["x"]),
    ({"x": [EVENING], "n": [1]}, pa.struct([("x", pa.list_(INSTANT)), ("n", pa.list_(I64))]), lambda v: v["x"][0]),
    ([("k", EVENING)], pa.map_(TEXT, INSTANT), lambda v: v["k"]),
    ([("k", [EVENING])], pa.map_(TEXT, pa.list_(INSTANT)), lambda v: v["k"][0]),
    ([{"x": EVENING}], pa.list_(pa.struct([("x", INSTANT)])), lambda v: v[0]["x"]),
]


def wall(type_: pa.DataType) -> pa.DataType:
    """The type with MLflow's datetime in place of instants."""
    if pa.types.is_list(type_):
        return pa.list_(wall(type_.value_type))
    if pa.types.is_map(type_):
        return pa.map_(TEXT, wall(type_.item_type))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, wall(field.type)) for field in type_])
    return pa.timestamp("ns") if pa.types.is_timestamp(type_) else type_


@pytest.mark.parametrize(("value", "type_", "at"), NESTED, ids=lambda v: str(v) if isinstance(v, pa.DataType) else "")
def test_a_timestamp_shows_the_sessions_clock_at_every_depth(value: Any, type_: pa.DataType, at: Any) -> None:
    given = {"a": pa.array([value, None], type_), "b": pa.array([0, 0])}
    unsigned = build(given)["a"]
    assert unsigned[1] is None
    time = pd.Timestamp(at(unsigned[0]))
    assert (time.hour, time.tzinfo is not None, time.timestamp()) == (22, True, EVENING.timestamp())
    signed = build(given, Column(name="a", type=wall(type_)))["a"]
    assert pd.Timestamp(at(signed[0])) == pd.Timestamp(WALL)


def test_nanoseconds_in_objects_are_times_too() -> None:
    given = pa.array([{"x": WALL}], pa.struct([("x", pa.timestamp("ns"))]))
    assert build({"a": given, "b": pa.array([0])})["a"][0] == {"x": WALL}
    lost = pa.array([{"x": 1}], pa.struct([("x", pa.timestamp("ns"))]))
    with pytest.raises(SchemaMismatchError, match="would lose data"):
        build({"a": lost, "b": pa.array([0])})


def test_what_is_beside_an_array_of_timestamps_stays_what_it_is() -> None:
    value, type_, _ = NESTED[3]
    beside = build({"a": pa.array([value], type_), "b": pa.array([0])})["a"][0]["n"]
    assert isinstance(beside, np.ndarray)
    assert (beside.dtype, beside.tolist()) == (np.int64, [1])


def test_an_input_that_is_declared_as_an_instant_is_seen_in_the_sessions_zone() -> None:
    utc = pa.timestamp("us", "UTC")
    batch = pa.RecordBatch.from_pydict({"a": pa.array([EVENING], INSTANT), "b": pa.array([WALL], pa.timestamp("us"))})
    binding = bind(WHAT, batch.schema, True, (Column(name="a", type=utc), Column(name="b", type=utc)))
    frame = build_input(WHAT, batch, binding, Form(time_zone=ZONE))
    for name in ("a", "b"):
        assert frame[name][0].hour == 22
        assert frame[name][0] == pd.Timestamp(EVENING)


def test_a_date_is_midnight_where_the_model_takes_a_datetime() -> None:
    day = datetime.date(2020, 2, 29)
    frame = build({"a": pa.array([day, None])}, Column(name="a", type=pa.timestamp("ns")))
    assert frame["a"][0] == pd.Timestamp(day)
    assert frame["a"].isna().tolist() == [False, True]
    nested = build({"a": pa.array([[day]])}, Column(name="a", type=pa.list_(pa.timestamp("ns"))))
    assert nested["a"][0][0] == np.datetime64("2020-02-29")


@pytest.mark.parametrize("type_", [pa.timestamp("us"), INSTANT, pa.date32()])
def test_years_that_nanoseconds_lack_are_exact(type_: pa.DataType) -> None:
    last = datetime.datetime(9999, 12, 31, tzinfo=datetime.timezone.utc if type_ == INSTANT else None)
    frame = build({"a": pa.array([last, None], type_)}, Column(name="a", type=pa.timestamp("ns")))
    assert frame["a"].dtype == np.dtype("datetime64[us]")
    assert frame["a"][0].year == 9999
    nested = build({"a": pa.array([[last]], pa.list_(type_))}, Column(name="a", type=pa.list_(pa.timestamp("ns"))))
    assert pd.Timestamp(nested["a"][0][0]).year == 9999
    usual = build({"a": pa.array([datetime.datetime(2020, 1, 1)])}, Column(name="a", type=pa.timestamp("ns")))
    assert usual["a"].dtype == np.dtype("datetime64[ns]")
