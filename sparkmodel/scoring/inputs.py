# SPDX-License-Identifier: Apache-2.0
"""From a record batch to what a model takes: a pandas DataFrame, an ndarray, or a dict of ndarrays."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from sparkmodel.binding import Binding, Field
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import is_list
from sparkmodel.scoring.casts import cast
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


def build_input(what: str, batch: pa.RecordBatch, binding: Binding, batch_format: str = "pandas") -> Any:
    """Convert one batch to a DataFrame, ndarray, dict of ndarrays, or RecordBatch, as binding and format say.

    Raises:
        SchemaMismatchError: a value does not fit the signature's type, or rows do not make up a tensor.
    """
    batch = with_dense_vectors(what, batch)
    if binding.kind == "expand":
        batch, binding = _expand(what, batch.column(0), binding)
    if binding.kind == "object":
        batch, binding = _wrap(batch, binding)
    if binding.kind == "frame":
        return (_table if batch_format == "pyarrow" else _frame)(what, batch, binding)
    if binding.kind == "stack":
        columns = [_numpy(what, batch.column(f.index), f) for f in binding.fields]
        shape = binding.fields[0].shape
        assert shape is not None
        return np.column_stack(columns).reshape((batch.num_rows, *shape[1:]))
    if binding.kind == "tensor":
        return _tensor(what, batch.column(binding.fields[0].index), binding.fields[0])
    return {f.name: _tensor(what, batch.column(f.index), f) for f in binding.fields}


@functools.lru_cache(maxsize=64)
def _labels(binding: Binding) -> pd.Index:
    return pd.Index([field.name for field in binding.fields])


def _is_float_block(arrays: list[pa.Array], binding: Binding) -> bool:
    double = pa.float64()
    return bool(arrays) and all(
        array.type == double and field.type in (None, double) and not array.null_count
        for array, field in zip(arrays, binding.fields, strict=True)
    )


def _float_frame(arrays: list[pa.Array], binding: Binding) -> pd.DataFrame:
    """What `to_pandas` makes of doubles, in a fifth of its time: most models take nothing else."""
    block = np.empty((len(arrays), len(arrays[0])))
    for row, array in zip(block, arrays, strict=True):
        row[:] = array.to_numpy()
    return pd.DataFrame(block.T, columns=_labels(binding), copy=False)


def _frame(what: str, batch: pa.RecordBatch, binding: Binding) -> pd.DataFrame:
    given = [batch.column(field.index) for field in binding.fields]
    if _is_float_block(given, binding):
        return _float_frame(given, binding)
    if not given:
        return pd.DataFrame(index=pd.RangeIndex(batch.num_rows))
    table = pa.Table.from_batches([_table(what, batch, binding)])
    # integers inside of arrays stay exact beside a NULL as objects
    frame = table.to_pandas(integer_object_nulls=True, maps_as_pydicts="strict")
    for i, column in enumerate(table.columns):
        if column.null_count and column.type in NULLABLE:
            # plain pandas would make floats of them, and of 2**53 + 1 another number
            frame.isetitem(i, column.to_pandas(types_mapper=NULLABLE.get))
    return frame


def _table(what: str, batch: pa.RecordBatch, binding: Binding) -> pa.RecordBatch:
    """The model's columns in its order, under its names, in its types."""
    arrays = [_cast(what, batch.column(field.index), field) for field in binding.fields]
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
    width = _lengths(what, array, fields[0])
    if width is not None and width != len(fields):
        raise SchemaMismatchError(
            what,
            f"the model takes {len(fields)} columns ({', '.join(f.name for f in fields)}), "
            f"the array has {width} elements",
        )
    values = array.flatten()
    columns = [values.take(pa.array(range(i, len(values), len(fields)), pa.int64())) for i in range(len(fields))]
    return pa.RecordBatch.from_arrays(columns, names=[f.name for f in fields]), Binding(kind="frame", fields=fields)


def _cast(what: str, array: pa.Array, field: Field) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if field.type is None or array.type == field.type:
        return array
    try:
        return cast(array, field.type)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise SchemaMismatchError(what, f"column '{field.name}' does not fit {field.type}: {error}") from error


def _numpy(what: str, array: pa.Array, field: Field) -> np.ndarray[Any, Any]:
    values = _cast(what, array, field)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if values.null_count and not pa.types.is_floating(values.type):
        raise SchemaMismatchError(what, f"column '{field.name}' has a NULL, which a tensor cannot hold")
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _lengths(what: str, array: pa.Array, field: Field) -> int | None:
    """The one length of the rows' arrays, None without rows."""
    if array.null_count:
        raise SchemaMismatchError(what, f"column '{field.name}' has a NULL where the model takes an array")
    lengths = pa.compute.list_value_length(array).unique().to_pylist()
    if len(lengths) > 1:
        raise SchemaMismatchError(
            what, f"the arrays in column '{field.name}' have different lengths: {sorted(lengths)[:5]}"
        )
    return int(lengths[0]) if lengths else None


def _tensor(what: str, array: pa.Array, field: Field) -> np.ndarray[Any, Any]:
    """Stack the rows' arrays; NULL elements of a float tensor are NaN."""
    rows = len(array)
    axes = [rows]
    while is_list(array.type):
        axes.append(_lengths(what, array, field) or 0)
        array = array.flatten()
    values = _numpy(what, array, field)
    if field.shape is None or not rows:
        return values.reshape(axes if field.shape is None else [0, *(max(axis, 0) for axis in field.shape[1:])])
    wanted = field.shape[1:]
    if len(axes) == len(field.shape) and all(w in (-1, a) for a, w in zip(axes[1:], wanted, strict=True)):
        return values.reshape(axes)
    is_nested = len(axes) > 2
    if not is_nested and wanted.count(-1) > 1:
        return values.reshape(axes)  # nothing says how to fold it
    # a flat array is folded to the shape, and a nested one unfolded; from one nesting to another, rows and columns
    # would get mixed up
    if (is_nested and len(wanted) > 1) or not _divides(math.prod(axes[1:]), wanted):
        raise SchemaMismatchError(
            what, f"the arrays in column '{field.name}' have shape {axes[1:]}, the model takes {list(wanted)}"
        )
    return values.reshape([rows, *wanted])


def _divides(width: int, shape: tuple[int, ...]) -> bool:
    """Whether `width` elements fill the shape, which has at most one open axis."""
    size = math.prod(axis for axis in shape if axis != -1)
    return width == size if -1 not in shape else size > 0 and width % size == 0
