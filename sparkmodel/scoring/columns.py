# SPDX-License-Identifier: Apache-2.0
"""A model's result in any container as an Arrow array: one column, or several as a struct or an array for each row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from sparkmodel.schema import is_list
from sparkmodel.scoring.casts import cast
from sparkmodel.scoring.dtypes import as_numpy, from_dtype, from_extension
from sparkmodel.scoring.leaves import is_missing
from sparkmodel.scoring.names import columns_of_fields
from sparkmodel.scoring.nesting import make_list, make_struct
from sparkmodel.scoring.values import from_values

# what Arrow, numpy, pandas and decimal raise for a value that does not fit
REFUSALS = (pa.ArrowException, ValueError, TypeError, OverflowError, ArithmeticError)


class RowError(ValueError):
    """A value does not fit, and the message says which."""


def from_result(result: Any, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """Everything that a model may return for a batch, as `type_`.

    Raises:
        ValueError: a value does not fit the type without loss; or one of `REFUSALS`.
    """
    if isinstance(result, pa.Table | pa.RecordBatch):
        return _from_columns(result.schema.names, result.columns, type_, time_zone)
    if isinstance(result, pd.DataFrame):
        columns = [result.iloc[:, i] for i in range(result.shape[1])]
        if is_list(type_) and _is_of_one_dtype(result):
            return from_result(result.to_numpy(), type_, time_zone)
        return _from_columns(result.columns, columns, type_, time_zone)
    if isinstance(result, dict):
        return _from_columns(list(result), list(result.values()), type_, time_zone)
    if isinstance(result, pd.Index | pd.api.extensions.ExtensionArray):
        result = pd.Series(result)
    if isinstance(result, pa.Array | pa.ChunkedArray):
        return _located(lambda part: cast(part, type_, time_zone), result)
    if isinstance(result, pd.Series) and not isinstance(result.dtype, np.dtype):
        return _located(lambda part: _from_series(part, type_, time_zone), result)
    array = result.to_numpy() if isinstance(result, pd.Series) else as_numpy(result)
    if array is not None:
        return _from_numpy(array, type_, time_zone)
    return _located(lambda part: from_values(part, type_, time_zone), list(result))


def _from_columns(labels: Sequence[Any], columns: Sequence[Any], type_: pa.DataType, time_zone: str | None) -> pa.Array:
    if pa.types.is_struct(type_):
        places = columns_of_fields([field.name for field in type_], labels)
        parts = [_field(columns[i], field, time_zone) for i, field in zip(places, type_, strict=True)]
        for field, part in zip(type_, parts, strict=True):
            if not field.nullable and part.null_count:
                row = part.is_null().index(True).as_py()
                raise RowError(f"row {row} is None: '{field.name}' is NOT NULL and missing")
        return make_struct(parts, type_, pa.repeat(False, len(parts[0])))
    if len(columns) == 1:
        return from_result(columns[0], type_, time_zone)
    if is_list(type_):
        return _side_by_side([from_result(column, type_.value_type, time_zone) for column in columns], type_)
    raise ValueError(f"{len(columns)} columns {[str(label) for label in labels]} for one value")


def _field(column: Any, field: pa.Field, time_zone: str | None) -> pa.Array:
    try:
        return from_result(column, field.type, time_zone)
    except REFUSALS as error:
        kind = RowError if isinstance(error, RowError) else ValueError
        raise kind(f"'{field.name}': {error}") from error


def _side_by_side(columns: list[pa.Array], type_: pa.DataType) -> pa.Array:
    """The columns' values of each row as one array."""
    rows, width = len(columns[0]), len(columns)
    order = np.arange(rows * width).reshape(width, rows).T.reshape(-1)
    values = pa.concat_arrays(columns).take(pa.array(order))
    return make_list(values, pa.repeat(width, rows), pa.repeat(False, rows), type_)


def _is_of_one_dtype(frame: pd.DataFrame) -> bool:
    dtypes = set(frame.dtypes)
    return len(dtypes) == 1 and all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes)


def _from_series(series: pd.Series, type_: pa.DataType, time_zone: str | None) -> pa.Array:
    if isinstance(series.dtype, np.dtype):
        return _from_axes(series.to_numpy(), type_, type_, time_zone)
    if isinstance(series.dtype, pd.SparseDtype):
        return _from_series(series.sparse.to_dense(), type_, time_zone)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.cat.remove_unused_categories()
        codes = series.cat.codes.to_numpy()
        categories = _from_series(series.cat.categories.to_series(), type_, time_zone)
        return categories.take(pa.array(codes, mask=codes < 0))
    array = from_extension(series)
    return from_values(list(series), type_, time_zone) if array is None else cast(array, type_, time_zone)


def _from_numpy(array: np.ndarray[Any, Any], type_: pa.DataType, time_zone: str | None) -> pa.Array:
    if array.dtype.names:
        names = array.dtype.names
        return _from_columns(names, [array[name] for name in names], type_, time_zone)
    is_struct, has_axes = pa.types.is_struct(type_), array.ndim > 1
    if is_struct and not has_axes and array.dtype != object and not np.issubdtype(array.dtype, np.void):
        array, has_axes = array.reshape(-1, 1), True
    if is_struct and array.ndim == 2:
        return _from_columns(range(array.shape[1]), list(array.T), type_, time_zone)
    if array.ndim == 2 and array.shape[1] == 1 and not is_list(type_):
        array = array[:, 0]
    leaf = type_
    for _ in array.shape[1:]:
        if not is_list(leaf):
            raise ValueError(f"{array.ndim} dimensions for one value")
        leaf = leaf.value_type
    return _located(lambda part: _from_axes(part, type_, leaf, time_zone), array)


def _from_axes(array: np.ndarray[Any, Any], type_: pa.DataType, leaf: pa.DataType, time_zone: str | None) -> pa.Array:
    """Values of the innermost type, and lists of them for each axis but the first."""
    flat = array.reshape(-1)
    if flat.dtype.kind in "OT":  # objects, and numpy's texts of any length
        hidden = np.ma.getmaskarray(flat)
        objects = [None if gone else value for value, gone in zip(np.asarray(flat), hidden, strict=True)]
        values = from_values(objects, leaf, time_zone)
    else:
        values = cast(from_dtype(flat, leaf), leaf, time_zone)
    types = [type_]
    for _ in array.shape[1:]:
        types.append(types[-1].value_type)
    for axis in range(array.ndim - 1, 0, -1):
        width, count = array.shape[axis], math.prod(array.shape[:axis])
        values = make_list(values, pa.repeat(width, count), pa.repeat(False, count), types[axis - 1])
    return values


def _located(convert: Callable[[Any], pa.Array], column: Any) -> pa.Array:
    """Convert a column; where that fails, tell the first row at fault and its value.

    Raises:
        RowError: a row does not fit.
    """
    try:
        return convert(column)
    except RowError:
        raise
    except REFUSALS as error:
        take = column.iloc if isinstance(column, pd.Series) else column
        good, bad, cause = 0, len(column), error  # the first `good` rows fit, the first `bad` do not
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                convert(take[:middle])
                good = middle
            except REFUSALS as found:
                bad, cause = middle, found
        raise RowError(f"row {good} is {_show(take[good])}: {cause}") from error


def _show(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, pa.Scalar):
        value = value.as_py()
    elif isinstance(value, np.generic):
        value = value.item() if not is_missing(value) else None
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
