# SPDX-License-Identifier: Apache-2.0
"""From a record batch to what a model takes: a pandas DataFrame, an ndarray, or a dict of ndarrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import Binding, Field, is_list

_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


@dataclasses.dataclass(frozen=True)
class ModelInput:
    """A model's input.

    Attributes:
        data: The DataFrame, ndarray or dict.
        is_exact: Whether `data` is a frame whose numeric columns had the signature's own types and no NULL.
    """

    data: Any
    is_exact: bool = False


def build_input(what: str, batch: pa.RecordBatch, binding: Binding) -> ModelInput:
    """Convert one batch.

    Raises:
        SchemaMismatchError: a value does not fit the signature's type, or rows do not make up a tensor.
    """
    if binding.kind == "frame":
        return _frame(what, batch, binding)
    if binding.kind == "expand":
        return ModelInput(_expand(what, batch.column(0), binding.fields))
    if binding.kind == "stack":
        columns = [_numpy(what, batch.column(f.index), f) for f in binding.fields]
        shape = binding.fields[0].shape
        assert shape is not None
        return ModelInput(np.column_stack(columns).reshape((batch.num_rows, *shape[1:])))
    if binding.kind == "tensor":
        return ModelInput(_tensor(what, batch.column(0), binding.fields[0]))
    return ModelInput({f.name: _tensor(what, batch.column(f.index), f) for f in binding.fields})


def _frame(what: str, batch: pa.RecordBatch, binding: Binding) -> ModelInput:
    given = [batch.column(field.index) for field in binding.fields]
    arrays = [_cast(what, array, field) for array, field in zip(given, binding.fields, strict=True)]
    names = [field.name for field in binding.fields]
    frame = pa.Table.from_arrays(arrays, names=names).to_pandas()
    is_exact = True
    for i, (array, field) in enumerate(zip(given, binding.fields, strict=True)):
        if array.null_count and array.type in _NULLABLE:
            # plain pandas would make floats of them, and of 2**53 + 1 another number
            frame.isetitem(i, arrays[i].to_pandas(types_mapper=_NULLABLE.get))
        is_number = pa.types.is_integer(array.type) or pa.types.is_floating(array.type)
        is_exact = is_exact and is_number and not array.null_count and array.type == field.type
    return ModelInput(frame, is_exact)


def _expand(what: str, array: pa.Array, fields: tuple[Field, ...]) -> pd.DataFrame:
    matrix = _tensor(what, array, Field(index=0, name="0"))
    if matrix.ndim != 2 or matrix.shape[1] != len(fields):
        raise SchemaMismatchError(
            what,
            f"the model takes {len(fields)} columns ({', '.join(f.name for f in fields)}), "
            f"the array has {matrix.shape[1:]} elements",
        )
    columns = [_cast(what, pa.array(np.ascontiguousarray(matrix[:, i])), field) for i, field in enumerate(fields)]
    return pa.Table.from_arrays(columns, names=[f.name for f in fields]).to_pandas()


def _cast(what: str, array: pa.Array, field: Field) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if field.type is None or array.type == field.type:
        return array
    try:
        return array.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaMismatchError(what, f"column '{field.name}' does not fit {field.type}: {error}") from error


def _numpy(what: str, array: pa.Array, field: Field) -> np.ndarray[Any, Any]:
    values = _cast(what, array, field)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if values.null_count and not pa.types.is_floating(values.type):
        raise SchemaMismatchError(what, f"column '{field.name}' has a NULL, which a tensor cannot hold")
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _tensor(what: str, array: pa.Array, field: Field) -> np.ndarray[Any, Any]:
    """Stack the rows' arrays; NULL elements of a float tensor are NaN."""
    rows = len(array)
    axes = [rows]
    while is_list(array.type):
        if array.null_count:
            raise SchemaMismatchError(what, f"column '{field.name}' has a NULL where the model takes an array")
        lengths = pa.compute.list_value_length(array).unique().to_pylist()
        if len(lengths) > 1:
            raise SchemaMismatchError(
                what, f"the arrays in column '{field.name}' have different lengths: {sorted(lengths)[:5]}"
            )
        axes.append(lengths[0] if lengths else 0)
        array = array.flatten()
    values = _numpy(what, array, field)
    if field.shape is None:
        return values.reshape(axes)
    wanted = [rows, *field.shape[1:]]
    if wanted.count(-1) > 1:
        return values.reshape(axes)
    try:
        return values.reshape(wanted)
    except ValueError as error:
        raise SchemaMismatchError(
            what,
            f"the arrays in column '{field.name}' have shape {axes[1:]}, the model takes {list(field.shape[1:])}",
        ) from error
