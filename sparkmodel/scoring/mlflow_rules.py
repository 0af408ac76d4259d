# SPDX-License-Identifier: Apache-2.0
"""How `mlflow.pyfunc.spark_udf` makes one value for each row of a result with several columns.

The rules are MLflow's: for a scalar the leftmost column that fits, for an array all columns that fit, for a string
`str` of the value. Where MLflow finds none, wider columns and objects are looked at. The rules only choose; whether
each value fits the type is checked afterwards, as for every result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.schema import is_list

_INTS = frozenset({"narrow", "int64"})
_NUMBERS = frozenset({"narrow", "int64", "unsigned", "floating", "gappy"})
_INTEGERS = frozenset({"integer", "gappy"})  # Python's
_OBJECTS = frozenset({"integer", "floats", "mixed-integer-float", "decimal"})  # what columns of objects may hold
_UNKNOWN = frozenset({"empty", "mixed", "mixed-integer", "categorical"})  # lists among them
_ROWS = (list, tuple, dict, np.ndarray, pd.Series)
_TIMES = frozenset({"datetime", "datetime64"})

# Arrow's test for a type, and the kinds of columns that fit it, better ones first
_FITS: tuple[tuple[Callable[[pa.DataType], bool], tuple[frozenset[str], ...]], ...] = (
    (pa.types.is_boolean, (frozenset({"boolean"}), _INTS | {"unsigned"}, frozenset({"booleans"}) | _INTEGERS)),
    (pa.types.is_int64, (_INTS, frozenset({"unsigned"}), _INTEGERS)),
    (pa.types.is_integer, (frozenset({"narrow"}), _INTS | {"unsigned"}, _INTEGERS)),
    (pa.types.is_floating, (_NUMBERS, _OBJECTS)),
    (pa.types.is_decimal, (frozenset({"decimal"}), _NUMBERS, _OBJECTS)),
    (pa.types.is_timestamp, (_TIMES, frozenset({"date"}))),
    (pa.types.is_date, (frozenset({"date"}), _TIMES)),
    (pa.types.is_binary, (frozenset({"bytes"}),)),
)


def pick_columns(result: Any, type_: pa.DataType) -> Any:
    """The part of a model's result that MLflow would take for `type_`.

    Raises:
        ValueError: no column fits.
    """
    if isinstance(result, list) and result and hasattr(result[0], "model_dump"):
        result = [row.model_dump() for row in result]  # pydantic's models
    element = type_.value_type if is_list(type_) else type_
    if pa.types.is_struct(type_) and isinstance(result, pd.DataFrame):
        return _with_texts(result, type_)
    if pa.types.is_nested(element) or isinstance(result, pa.Array | pa.ChunkedArray):
        return result
    frame = _as_frame(result)
    if frame is None:
        return result
    is_list_of_rows = isinstance(result, list | dict)
    kinds = [_kind(frame.iloc[:, i], is_list_of_rows) for i in range(frame.shape[1])]
    fitting = _fitting(kinds, element)
    if not fitting:
        raise ValueError(f"no column of {[str(dtype) for dtype in frame.dtypes]} is compatible with {element}")
    if is_list(type_) and len(fitting) == 1 and kinds[fitting[0]] == "mixed":
        return frame.iloc[:, fitting[0]]  # the arrays themselves
    columns = [frame.iloc[:, i] for i in fitting]
    if pa.types.is_string(element):
        columns = [_as_text(column) for column in columns]
    if not is_list(type_):
        return columns[0]
    dtype = columns[0].dtype
    if isinstance(dtype, np.dtype) and dtype.kind != "O" and all(column.dtype == dtype for column in columns):
        return frame.iloc[:, fitting].to_numpy()
    return [list(values) for values in zip(*map(_values, columns), strict=True)]


def _as_frame(result: Any) -> pd.DataFrame | None:
    """The result as columns, None if each row has more than one dimension."""
    if hasattr(result, "toarray"):  # scipy's sparse matrices
        result = result.toarray()
    if isinstance(result, np.ndarray) and result.ndim > 2:
        return None
    if isinstance(result, dict):
        result = {name: pd.Series(list(values), dtype=object) for name, values in result.items()}
    elif isinstance(result, list) and not (result and isinstance(result[0], _ROWS)):
        result = {0: pd.Series(result, dtype=object)}
    if isinstance(result, list | dict):
        return _frame_of_objects(result)
    if isinstance(result, pa.Table | pa.RecordBatch):
        result = result.to_pandas()
    return result if isinstance(result, pd.DataFrame) else pd.DataFrame(result)


def _frame_of_objects(result: list[Any] | dict[Any, pd.Series]) -> pd.DataFrame:
    """The frame that pandas makes of them, except that None among numbers stays None and does not become NaN."""
    frame = pd.DataFrame(result, dtype=object)
    for i in range(frame.shape[1]):
        column = frame.iloc[:, i]
        if not any(value is None for value in column):
            frame.isetitem(i, column.infer_objects())
    return frame


def _kind(column: pd.Series, is_python: bool) -> str:
    """The dtype, or for objects what they are, in words; for Python's numbers the dtype that pandas would give them."""
    dtype = column.dtype
    kind = getattr(dtype, "kind", "O")
    if kind in "iu":
        if dtype.itemsize < 4 or (kind == "i" and dtype.itemsize == 4):
            return "narrow"
        return "int64" if kind == "i" else "unsigned"
    if kind in "bfM":
        return {"b": "boolean", "f": "floating", "M": "datetime"}[kind]
    inferred: str = pd.api.types.infer_dtype(column, skipna=True)
    if is_python and inferred in ("integer", "floating", "mixed-integer-float"):
        return "gappy" if inferred == "integer" else "floating"
    return {"boolean": "booleans", "floating": "floats"}.get(inferred, inferred)


def _fitting(kinds: list[str], element: pa.DataType) -> list[int]:
    for holds, choices in _FITS:
        if holds(element):
            for choice in (*choices, _UNKNOWN):
                found = [i for i, kind in enumerate(kinds) if kind in choice]
                if found:
                    return found
            return []
    return list(range(len(kinds)))


def _with_texts(frame: pd.DataFrame, type_: pa.StructType) -> pd.DataFrame:
    """The frame with `str` of the values of columns that are string fields."""
    names = [field.name for field in type_ if pa.types.is_string(field.type)]
    texts = {name: _as_text(frame[name]) for name in names if list(frame.columns).count(name) == 1}
    return frame.assign(**texts) if texts else frame


def _as_text(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.StringDtype):
        return column
    # NaN of a float column is a number; elsewhere it is how pandas writes a missing value
    is_float = isinstance(column.dtype, np.dtype) and column.dtype.kind == "f"
    texts = [None if gone and not is_float else str(v) for v, gone in zip(column, column.isna(), strict=True)]
    return pd.Series(texts, index=column.index, dtype=object)


def _values(column: pd.Series) -> list[Any]:
    """Python's values, None for what is missing; NaN of a float column is a number."""
    values: list[Any] = column.tolist()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        return values
    return [None if gone else value for value, gone in zip(values, column.isna(), strict=True)]
