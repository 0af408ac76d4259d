# SPDX-License-Identifier: Apache-2.0
"""Generated schemas and rows through a worker on a socket and back, compared bit for bit."""

from __future__ import annotations

import contextlib
import dataclasses
import decimal
import functools
import math
import struct
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparkmodel.options import PoolOptions
from sparkmodel.pool.worker import Worker
from sparkmodel.schema import Column, Signature
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Served
from tests.unit.pool.toys import HOST, TOKEN, Shipped, client_for, spec_of
from tests.unit.scoring.test_round_trip import TEXTS, integers
from tests.unit.wire.toys import HandleClient, listing

DECIMAL = pa.decimal128(38, 10)
SCALARS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int8(): integers(8),
    pa.int16(): integers(16),
    pa.int32(): integers(32),
    pa.int64(): integers(64) | st.just(9223372036854775707),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.string(): TEXTS,
    pa.binary(): st.binary(max_size=8),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "America/New_York"): st.integers(-(2**50), 2**50),
    DECIMAL: st.decimals(-(10**27), 10**27, places=10).map(lambda value: value + decimal.Decimal(0)),
}


def values_of(type_: pa.DataType) -> st.SearchStrategy[Any]:
    """Values of a type, NULL among them at every depth."""
    if type_ in SCALARS:
        return st.none() | SCALARS[type_]
    if pa.types.is_list(type_):
        return st.none() | st.lists(values_of(type_.value_type), max_size=3)
    if pa.types.is_map(type_):
        keys = SCALARS[type_.key_type]
        return st.none() | st.dictionaries(keys, values_of(type_.item_type), max_size=3).map(lambda d: list(d.items()))
    return st.none() | st.fixed_dictionaries({field.name: values_of(field.type) for field in type_})


def nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    structs = st.lists(inner, min_size=1, max_size=3).map(
        lambda types: pa.struct(list(zip("xyz", types, strict=False)))
    )
    return inner.map(pa.list_) | structs | inner.map(lambda type_: pa.map_(pa.string(), type_))


TYPES = st.recursive(st.sampled_from(list(SCALARS)), nested, max_leaves=4)
SCHEMAS = st.lists(TYPES, min_size=1, max_size=4).map(lambda types: pa.schema(list(zip("abcd", types, strict=False))))


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    schema = draw(SCHEMAS)
    rows = draw(st.integers(1, 5))
    columns = [
        pa.array(draw(st.lists(values_of(field.type), min_size=rows, max_size=rows)), field.type) for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@functools.cache
def model() -> tuple[ModelSpec, Shipped]:
    """A model that gives back what it gets, as one is made that is registered."""
    return spec_of(lambda data: data)


@contextlib.contextmanager
def echo(schema: pa.Schema, with_signature: bool, **options: Any) -> Iterator[HandleClient]:
    """A client of a worker whose model gives back a struct of the columns that it gets."""
    columns = tuple(Column(name=field.name, type=field.type) for field in schema)
    spec, payload = model()
    spec = dataclasses.replace(
        spec,
        signature=Signature(inputs=columns) if with_signature else Signature(),
        result_type=pa.struct(list(schema)),
        options=PoolOptions.of(options),
    )
    worker = Worker(spec, version=1, token=TOKEN, host=HOST)
    endpoint = worker.start(payload.data)
    worker.publish(listing(1, served=(Served(1, (endpoint,), accepts=(spec.digest,)),)))
    client = client_for(worker.directory, endpoint, spec)
    try:
        yield client
    finally:
        client.close()
        worker.close()


def through(batch: pa.RecordBatch, with_signature: bool, **options: Any) -> pa.Array:
    with echo(batch.schema, with_signature, **options) as client:
        (answer,) = client.predict([batch], True, 60)
    answer.validate(full=True)
    return answer


def bits(value: Any) -> Any:
    """A value in which floats are their bits."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value)
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return value


def as_numpy_has_it(value: Any, type_: pa.DataType) -> Any:
    """A value of a column or a list: there NULL among floats is NaN, but not where Python's own objects hold it."""
    if value is None:
        return math.nan if pa.types.is_floating(type_) else None
    if pa.types.is_list(type_):
        return [as_numpy_has_it(item, type_.value_type) for item in value]
    if pa.types.is_map(type_):
        return [(key, item if item is None else as_numpy_has_it(item, type_.item_type)) for key, item in value]
    if pa.types.is_struct(type_):
        fields = {field.name: field.type for field in type_}
        return {key: item if item is None else as_numpy_has_it(item, fields[key]) for key, item in value.items()}
    return value


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=batches(), with_signature=st.booleans(), size=st.none() | st.integers(1, 3))
@pytest.mark.fault("F20")
def test_record_batches_come_back_bit_for_bit(batch: pa.RecordBatch, with_signature: bool, size: int | None) -> None:
    answer = through(batch, with_signature, batch_format="pyarrow", batch_size=size)
    assert answer.type == pa.struct(list(batch.schema))
    assert [bits(row) for row in answer.to_pylist()] == [bits(row) for row in batch.to_pylist()]


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=batches(), with_signature=st.booleans(), size=st.none() | st.integers(1, 3))
def test_frames_come_back_bit_for_bit_but_for_null_among_floats(
    batch: pa.RecordBatch, with_signature: bool, size: int | None
) -> None:
    answer = through(batch, with_signature, batch_size=size)
    for field, column in zip(batch.schema, batch.columns, strict=True):
        expected = [as_numpy_has_it(value, field.type) for value in column.to_pylist()]
        assert bits(answer.field(field.name).to_pylist()) == bits(expected)
