# SPDX-License-Identifier: Apache-2.0
"""From the columns of a record batch to the ndarrays that a function of `predict_batch_udf` takes.

What PySpark would hand to it where that is right; exact beside a NULL where PySpark's is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.loaders.clocks import wall_clock
from sparkmodel.schema import is_list

NDArray = np.ndarray[Any, Any]
Shape = Sequence[int] | None

_EXACT_IN_DOUBLE = 2**53


def scalars(array: pa.Array) -> NDArray:
    """A column as one value for each row.

    Numbers, booleans and times have NumPy's own type; a NULL among floats is NaN, among times NaT. Times show the
    clock on the wall, also within arrays and structs. Integers beside a NULL are float64 if that is exact for all of
    them, else objects. All else is objects, with None for NULL.
    """
    type_ = array.type
    array = wall_clock(array)
    if array.null_count and pa.types.is_integer(type_) and not _fits_double(array):
        return objects(array.to_pylist())
    if not _is_plain(type_):
        return np.asarray(array.to_pandas(integer_object_nulls=True, maps_as_pydicts="strict").to_numpy())
    return _writable(array.to_numpy(zero_copy_only=False))


def objects(values: Sequence[Any]) -> NDArray:
    """Values in an array of objects, whatever NumPy would make of them."""
    result = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):  # at once, arrays of one length would become rows and columns
        result[i] = value
    return result


def tensor(what: str, name: str, array: pa.Array, shape: Sequence[int]) -> NDArray:
    """A column of lists as one array with a row for each row; NULLs of a float tensor are NaN.

    Raises:
        SchemaMismatchError: a row is NULL where NaN cannot say so, or has not the elements that the shape takes.
    """
    rows, width = len(array), math.prod(shape)
    present = array.is_valid().to_numpy(zero_copy_only=False)
    values = array
    while is_list(values.type):
        lengths = pa.compute.list_value_length(values.drop_null()).unique().to_pylist()
        if len(lengths) > 1:
            fact = f"the arrays in column '{name}' have different lengths: {sorted(lengths)[:5]}"
            raise SchemaMismatchError(what, fact)
        values = values.flatten()
    is_float = pa.types.is_floating(values.type)
    if not present.all() and not is_float:
        raise SchemaMismatchError(
            what, f"column '{name}' has a NULL where the model takes an array of {values.type}", "filter such rows out"
        )
    if len(values) != present.sum() * width:
        fact = f"the arrays in column '{name}' have {len(values) // present.sum()} elements, the shape is {list(shape)}"
        raise SchemaMismatchError(what, fact, "pass the input_tensor_shapes that the column really has")
    flat = objects(values.to_pylist()) if values.null_count and not is_float else scalars(values)
    if present.all():
        return flat.reshape([rows, *shape])
    result = np.full((rows, width), np.nan, flat.dtype)
    result[present] = flat.reshape(-1, width)
    return result.reshape([rows, *shape])


def matrix(columns: Sequence[NDArray]) -> NDArray:
    """Columns side by side, in the type that pandas finds for all of them."""
    series = {i: pd.Series(column, dtype=column.dtype, copy=False) for i, column in enumerate(columns)}
    return _writable(pd.DataFrame(series).to_numpy())


def _is_plain(type_: pa.DataType) -> bool:
    """Whether Arrow's own conversion gives what PySpark's does."""
    return bool(
        pa.types.is_boolean(type_)
        or pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_timestamp(type_)
        or pa.types.is_duration(type_)
        or pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
    )


def _fits_double(array: pa.Array) -> bool:
    limits = pa.compute.min_max(array).as_py()
    return limits["min"] is None or -_EXACT_IN_DOUBLE <= limits["min"] <= limits["max"] <= _EXACT_IN_DOUBLE


def _writable(array: NDArray) -> NDArray:
    """A model may work in place; what belongs to Arrow or pandas it may not touch."""
    return array if array.flags.writeable else array.copy()
