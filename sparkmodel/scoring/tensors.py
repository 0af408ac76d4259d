# SPDX-License-Identifier: Apache-2.0
"""From columns to ndarrays: those of a signature's tensors, and of a model that takes one array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from sparkmodel.binding import Field
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import is_list
from sparkmodel.scoring.fitting import fit

NDArray = np.ndarray[Any, Any]


def numbers(what: str, array: pa.Array, field: Field) -> NDArray:
    """A column of single values; a NULL among floats is NaN.

    Raises:
        SchemaMismatchError: a value does not fit, or is NULL where NaN cannot say so.
    """
    values = fit(what, array, field)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if values.null_count and not pa.types.is_floating(values.type):
        raise SchemaMismatchError(what, f"column '{field.name}' has a NULL, which a tensor cannot hold")
    return np.asarray(values.to_numpy(zero_copy_only=False))


def length_of_all(what: str, array: pa.Array, field: Field) -> int | None:
    """The one length of the rows' arrays, None without rows.

    Raises:
        SchemaMismatchError: there are several, or a row is NULL.
    """
    lengths = _lengths(what, array, field)
    if len(lengths) > 1:
        raise SchemaMismatchError(
            what, f"the arrays in column '{field.name}' have different lengths: {sorted(lengths)[:5]}"
        )
    return lengths[0] if lengths else None


def tensor(what: str, array: pa.Array, field: Field) -> NDArray:
    """Stack the rows' arrays; NULL elements of a float tensor are NaN.

    Arrays of different lengths, where no shape says what they should be, stay one ndarray for each row.

    Raises:
        SchemaMismatchError: they cannot make up the tensor.
    """
    rows = len(array)
    if field.shape is None and _is_ragged(what, array, field):
        return np.asarray(array.to_pandas(integer_object_nulls=True).to_numpy())
    axes, inner = [rows], array
    while is_list(inner.type):
        axes.append(length_of_all(what, inner, field) or 0)
        inner = inner.flatten()
    values = numbers(what, inner, field)
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


def _lengths(what: str, array: pa.Array, field: Field) -> list[int]:
    if array.null_count:
        raise SchemaMismatchError(what, f"column '{field.name}' has a NULL where the model takes an array")
    lengths: list[int] = pa.compute.list_value_length(array).unique().to_pylist()
    return lengths


def _is_ragged(what: str, array: pa.Array, field: Field) -> bool:
    while is_list(array.type):
        if len(_lengths(what, array, field)) > 1:
            return True
        array = array.flatten()
    return False


def _divides(width: int, shape: tuple[int, ...]) -> bool:
    """Whether `width` elements fill the shape, which has at most one open axis."""
    size = math.prod(axis for axis in shape if axis != -1)
    return width == size if -1 not in shape else size > 0 and width % size == 0
