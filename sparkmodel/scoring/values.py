# SPDX-License-Identifier: Apache-2.0
"""Python objects, one for each row, as an Arrow array of the declared type, however deep it is."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.schema import is_list
from sparkmodel.scoring.casts import cast
from sparkmodel.scoring.dtypes import as_numpy, from_dtype
from sparkmodel.scoring.leaves import from_leaves, is_missing
from sparkmodel.scoring.names import is_unlabelled, keys_of_fields
from sparkmodel.scoring.nesting import make_list, make_map, make_struct

_PLAIN = frozenset("biufUSMm")  # kinds of numpy's dtypes that need no look at each value


def from_values(values: list[Any], type_: pa.DataType, time_zone: str | None) -> pa.Array:
    """One object for each row, as `type_`.

    Raises:
        ValueError: an object does not fit the type without loss.
    """
    if pa.types.is_struct(type_):
        return _structs(values, type_, time_zone)
    if is_list(type_):
        return _lists(values, type_, time_zone)
    if pa.types.is_map(type_):
        return _maps(values, type_, time_zone)
    return from_leaves(values, type_, time_zone)


def as_record(value: Any) -> Mapping[Any, Any] | list[Any]:
    """One row of a struct: its parts by name, or a list of them if they have no names.

    Raises:
        ValueError: it has no parts.
    """
    if isinstance(value, Mapping):
        return value
    names = names_of(value)
    if names is not None:
        is_sequence = isinstance(value, tuple | np.void)
        parts: list[Any] = list(value) if is_sequence else [getattr(value, name) for name in names]
        return dict(zip(names, parts, strict=True))
    if hasattr(value, "model_dump"):  # pydantic
        return dict(value.model_dump())
    if isinstance(value, pa.StructScalar):
        return dict(value.as_py())
    if isinstance(value, pd.Series) and not is_unlabelled(value.index):
        return dict(zip(value.index, value, strict=True))
    if isinstance(value, list | tuple | np.ndarray | pd.Series) and getattr(value, "ndim", 1) == 1:
        return list(value)
    raise ValueError(f"it is a {type(value).__name__}")


def names_of(value: Any) -> Sequence[str] | None:
    """The names of a namedtuple, a row of Spark or of a structured array, or a dataclass; None if it has none."""
    if isinstance(value, tuple):
        return getattr(value, "_fields", None) or getattr(value, "__fields__", None)
    if isinstance(value, np.void):
        return value.dtype.names
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [field.name for field in dataclasses.fields(value)]
    return None


def _structs(values: list[Any], type_: pa.StructType, time_zone: str | None) -> pa.Array:
    names = tuple(field.name for field in type_)
    records = [value if type(value) is dict else _as_parts(value, len(names)) for value in values]
    shapes = [None if row is None else len(row) if isinstance(row, list) else tuple(row) for row in records]
    keys = {shape: _keys(names, shape) for shape in set(shapes)}
    columns = [
        [None if (key := keys[shape][j]) is None else row[key[0]] for row, shape in zip(records, shapes, strict=True)]
        for j in range(len(names))
    ]
    missing = [row is None for row in records]
    parts = [_field(column, field, time_zone) for column, field in zip(columns, type_, strict=True)]
    return make_struct(parts, type_, pa.array(missing, pa.bool_()))


def _as_parts(value: Any, count: int) -> Any:
    """The parts of a row, which may be the one part itself; None if it is missing."""
    if is_missing(value):
        return None
    try:
        return as_record(value)
    except ValueError:
        if count != 1:
            raise
        return [value]


def _keys(names: tuple[str, ...], shape: int | tuple[Any, ...] | None) -> Sequence[tuple[Any] | None]:
    """Where the fields are in a row: by its keys, or by position in so many parts; nowhere in none."""
    if shape is None:
        return [None] * len(names)
    if isinstance(shape, tuple):
        return keys_of_fields(names, shape)
    if shape != len(names):
        raise ValueError(f"it has {shape} parts for the fields {list(names)}")
    return [(i,) for i in range(shape)]


def _field(values: list[Any], field: pa.Field, time_zone: str | None) -> pa.Array:
    try:
        return from_values(values, field.type, time_zone)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"'{field.name}': {error}") from error


def _lists(values: list[Any], type_: pa.DataType, time_zone: str | None) -> pa.Array:
    rows: list[Any] = [value if type(value) is list else _as_row(value) for value in values]
    given = [row for row in rows if row is not None]
    lengths = pa.array([0 if row is None else len(row) for row in rows], pa.int32())
    if given and all(isinstance(row, np.ndarray) for row in given) and len({row.dtype for row in given}) == 1:
        is_masked = any(isinstance(row, np.ma.MaskedArray) for row in given)
        flat: Any = np.ma.concatenate(given) if is_masked else np.concatenate(given)  # type: ignore[no-untyped-call]
        inner = cast(from_dtype(flat, type_.value_type), type_.value_type, time_zone)
    else:
        inner = from_values(list(itertools.chain.from_iterable(given)), type_.value_type, time_zone)
    return make_list(inner, lengths, pa.array([row is None for row in rows], pa.bool_()), type_)


def _as_row(value: Any) -> Any:
    """One row of an array: an ndarray of one axis with a dtype of its own, or a list; None if it is missing."""
    if type(value) is np.ndarray and value.ndim == 1 and value.dtype.kind in _PLAIN:
        return value
    if isinstance(value, list | tuple | range):
        return value
    if is_missing(value):
        return None
    if isinstance(value, pa.Array | pa.ChunkedArray | pa.ListScalar):
        return value.as_py() if isinstance(value, pa.ListScalar) else value.to_pylist()
    if isinstance(value, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        return value.to_numpy() if _is_plain(value.dtype) else list(value)
    array = as_numpy(value)
    if array is None or array.ndim == 0:
        raise ValueError(f"it is a {type(value).__name__}, not a list")
    if isinstance(value, np.matrix) or hasattr(value, "toarray"):  # they have two axes, whatever they hold
        array = array[0] if array.shape[0] == 1 else array
    return array if array.ndim == 1 and _is_plain(array.dtype) else list(array)


def _is_plain(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in _PLAIN


def _maps(values: list[Any], type_: pa.DataType, time_zone: str | None) -> pa.Array:
    rows = [None if is_missing(value) else _as_pairs(value) for value in values]
    pairs = list(itertools.chain.from_iterable(row for row in rows if row is not None))
    keys = from_values([key for key, _ in pairs], type_.key_type, time_zone)
    items = from_values([item for _, item in pairs], type_.item_type, time_zone)
    lengths = pa.array([0 if row is None else len(row) for row in rows], pa.int32())
    return make_map(keys, items, lengths, pa.array([row is None for row in rows], pa.bool_()), type_)


def _as_pairs(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, list | tuple) and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in value):
        return [(key, item) for key, item in value]
    record = as_record(value)
    if isinstance(record, list):
        raise ValueError(f"it is a {type(value).__name__}, not a map")
    return list(record.items())
