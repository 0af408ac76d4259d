# SPDX-License-Identifier: Apache-2.0
"""From a record batch to what a model takes: a pandas DataFrame, an ndarray, or a dict of ndarrays."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.binding import Binding
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.loaders.batch_inputs import objects
from sparkmodel.scoring.fitting import fit
from sparkmodel.scoring.instants import has_zoned_lists, zoned_lists
from sparkmodel.scoring.tensors import length_of_all, numbers, tensor
from sparkmodel.scoring.vectors import with_dense_vectors

NULLABLE = {
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """How a model wants its input, beside what the binding says.

    Attributes:
        batch_format: `pandas` or `pyarrow`.
        time_zone: The session's.
        labels: The columns' labels in a frame; None are the binding's names.
        is_own: Whether all memory of the input is its own, so that a model may write into it.
    """

    batch_format: str = "pandas"
    time_zone: str = "UTC"
    labels: tuple[Hashable, ...] | None = None
    is_own: bool = False


_USUAL = Form()


def build_input(what: str, batch: pa.RecordBatch, binding: Binding, form: Form = _USUAL) -> Any:
    """Convert one batch to a DataFrame, ndarray, dict of ndarrays, or RecordBatch, as binding and form say.

    Raises:
        SchemaMismatchError: a value does not fit the signature's type, or rows do not make up a tensor.
    """
    batch = with_dense_vectors(what, batch)
    if binding.kind == "expand":
        batch, binding = _expand(what, batch.column(0), binding)
    if binding.kind == "object":
        batch, binding = _wrap(batch, binding)
    if binding.kind == "frame" and form.batch_format == "pyarrow":
        return _table(what, batch, binding, form)
    data = _frame(what, batch, binding, form) if binding.kind == "frame" else _arrays(what, batch, binding)
    return _owned(data) if form.is_own else data


def _arrays(what: str, batch: pa.RecordBatch, binding: Binding) -> Any:
    if binding.kind == "stack":
        columns = [numbers(what, batch.column(f.index), f) for f in binding.fields]
        shape = binding.fields[0].shape
        assert shape is not None
        return np.column_stack(columns).reshape((batch.num_rows, *shape[1:]))
    if binding.kind == "tensor":
        return tensor(what, batch.column(binding.fields[0].index), binding.fields[0])
    return {f.name: tensor(what, batch.column(f.index), f) for f in binding.fields}


@functools.lru_cache(maxsize=64)
def _labels(binding: Binding, form: Form) -> pd.Index:
    return pd.Index(form.labels or [field.name for field in binding.fields])


def _is_float_block(arrays: list[pa.Array], binding: Binding) -> bool:
    double = pa.float64()
    return bool(arrays) and all(
        array.type == double and field.type in (None, double) and not array.null_count
        for array, field in zip(arrays, binding.fields, strict=True)
    )


def _float_frame(arrays: list[pa.Array], labels: pd.Index) -> pd.DataFrame:
    """What `to_pandas` makes of doubles, in a fifth of its time: most models take nothing else."""
    block = np.empty((len(arrays), len(arrays[0])))
    for row, array in zip(block, arrays, strict=True):
        row[:] = array.to_numpy()
    return pd.DataFrame(block.T, columns=labels, copy=False)


def _frame(what: str, batch: pa.RecordBatch, binding: Binding, form: Form) -> pd.DataFrame:
    given = [batch.column(field.index) for field in binding.fields]
    if _is_float_block(given, binding):
        return _float_frame(given, _labels(binding, form))
    if not given:
        return pd.DataFrame(index=pd.RangeIndex(batch.num_rows))
    table = pa.Table.from_batches([_table(what, batch, binding, form)])
    # integers inside of arrays stay exact beside a NULL as objects
    frame = table.to_pandas(integer_object_nulls=True, maps_as_pydicts="strict")
    for i, column in enumerate(table.columns):
        if column.null_count and column.type in NULLABLE:
            # plain pandas would make floats of them, and of 2**53 + 1 another number
            frame.isetitem(i, column.to_pandas(types_mapper=NULLABLE.get))
        elif has_zoned_lists(column.type):
            frame.isetitem(i, zoned_lists(column))
    return frame if form.labels is None else frame.set_axis(_labels(binding, form), axis=1)


def _table(what: str, batch: pa.RecordBatch, binding: Binding, form: Form) -> pa.RecordBatch:
    """The model's columns in its order, under its names, in its types."""
    arrays = [fit(what, batch.column(field.index), field, form.time_zone) for field in binding.fields]
    if not arrays:
        return batch.select([])
    return pa.RecordBatch.from_arrays(arrays, names=[field.name for field in binding.fields])


def _wrap(batch: pa.RecordBatch, binding: Binding) -> tuple[pa.RecordBatch, Binding]:
    """The columns as the fields of the model's one input."""
    row = pa.StructArray.from_arrays(batch.columns, names=batch.schema.names)
    name = binding.fields[0].name
    return pa.RecordBatch.from_arrays([row], names=[name]), Binding(kind="frame", fields=binding.fields)


def _expand(what: str, array: pa.Array, binding: Binding) -> tuple[pa.RecordBatch, Binding]:
    """The elements of the rows' arrays as columns."""
    fields = binding.fields
    width = length_of_all(what, array, fields[0])
    if width is not None and width != len(fields):
        raise SchemaMismatchError(
            what,
            f"the model takes {len(fields)} columns ({', '.join(f.name for f in fields)}), "
            f"the array has {width} elements",
        )
    values = array.flatten()
    columns = [values.take(pa.array(range(i, len(values), len(fields)), pa.int64())) for i in range(len(fields))]
    return pa.RecordBatch.from_arrays(columns, names=[f.name for f in fields]), Binding(kind="frame", fields=fields)


def _owned(data: Any) -> Any:
    """The same with no memory that belongs to the batch."""
    if isinstance(data, pd.DataFrame):
        frame = data.copy()
        for i, dtype in enumerate(frame.dtypes):
            if pd.api.types.is_object_dtype(dtype):
                frame.isetitem(i, pd.Series(_owned(frame.iloc[:, i].to_numpy()), dtype=object))
        return frame
    if isinstance(data, dict):
        return {key: _owned(value) for key, value in data.items()}
    if isinstance(data, np.ndarray):
        return data.copy() if data.dtype != object else objects([_owned(value) for value in data])
    return data
