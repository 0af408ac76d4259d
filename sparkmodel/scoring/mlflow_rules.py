# SPDX-License-Identifier: Apache-2.0
"""How `mlflow.pyfunc.spark_udf` makes one value for each row of a result with several columns.

The rules are MLflow's: for a scalar the leftmost column that fits, for an array all columns that fit, for a string
`str` of the value. Where MLflow finds none, wider columns, objects and what gaps made of integers are looked at. The
rules only choose; whether each value fits the type is checked afterwards, as for every result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.schema import is_list
from sparkmodel.scoring.leaves import is_missing
from sparkmodel.scoring.values import as_record, names_of

_INTS = frozenset({"narrow", "int64"})
_NUMBERS = frozenset({"narrow", "int64", "unsigned", "floating"})
_INTEGERS = frozenset({"integer"})  # Python's
_OBJECTS = frozenset({"integer", "floats", "mixed-integer-float", "decimal"})  # what columns of objects may hold
_UNKNOWN = frozenset({"empty", "mixed", "mixed-integer", "categorical"})  # lists among them
_FLOATS = frozenset({"floating", "floats", "mixed-integer-float"})  # integers with a gap, to pandas
_TIMES = frozenset({"datetime", "datetime64"})

# Arrow's test for a type, and the kinds of columns that fit it, better ones first
_FITS: tuple[tuple[Callable[[pa.DataType], bool], tuple[frozenset[str], ...]], ...] = (
    (pa.types.is_boolean, (frozenset({"boolean"}), _INTS | {"unsigned"}, frozenset({"booleans"}) | _INTEGERS, _FLOATS)),
    (pa.types.is_int64, (_INTS, frozenset({"unsigned"}), _INTEGERS, _FLOATS)),
    (pa.types.is_integer, (frozenset({"narrow"}), _INTS | {"unsigned"}, _INTEGERS, _FLOATS)),
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
    element = type_.value_type if is_list(type_) else type_
    if pa.types.is_struct(type_) and isinstance(result, pd.DataFrame):
        return _with_texts(result, type_)
    if pa.types.is_nested(element) or isinstance(result, pa.Array | pa.ChunkedArray):
        return result
    frame = None if is_list(type_) and _is_ragged(result) else _as_frame(result)
    if frame is None:
        return result
    is_python = isinstance(result, list | tuple | dict)
    kinds = [_kind(frame.iloc[:, i], is_python) for i in range(frame.shape[1])]
    fitting = _fitting(kinds, element)
    if not fitting:
        raise ValueError(f"no column of {[str(dtype) for dtype in frame.dtypes]} is compatible with {element}")
    if is_list(type_) and len(fitting) == 1 and kinds[fitting[0]] == "mixed":
        return frame.iloc[:, fitting[0]]  # the arrays themselves
    if is_list(type_) and is_python:  # what is missing in all rows of this batch is no less a column
        fitting = [i for i, kind in enumerate(kinds) if i in fitting or kind == "empty"]
    columns = [frame.iloc[:, i] for i in fitting]
    if pa.types.is_string(element):
        columns = [_as_text(column) for column in columns]
    if not is_list(type_):
        return columns[0]
    dtype = columns[0].dtype
    if isinstance(dtype, np.dtype) and dtype.kind != "O" and all(column.dtype == dtype for column in columns):
        return frame.iloc[:, fitting].to_numpy()
    return [list(values) for values in zip(*columns, strict=True)]


def _as_frame(result: Any) -> pd.DataFrame | None:
    """The result as columns, None if each row has more than one dimension."""
    if isinstance(result, np.ma.MaskedArray):
        objects = np.array(result, dtype=object)
        objects[np.ma.getmaskarray(result)] = None
        result = objects
    if isinstance(result, np.ndarray) and result.ndim > 2:
        return None
    if isinstance(result, dict):
        return _frame_of_objects(result)
    if isinstance(result, list | tuple):
        return _frame_of_rows(list(result))
    if isinstance(result, pa.Table | pa.RecordBatch):
        return result.to_pandas(types_mapper=pd.ArrowDtype)  # the values as they are, NULL or not
    frame = result if isinstance(result, pd.DataFrame) else pd.DataFrame(result)
    is_sparse = any(isinstance(dtype, pd.SparseDtype) for dtype in frame.dtypes)
    return frame.apply(_dense) if is_sparse else frame


def _is_ragged(result: Any) -> bool:
    """Whether the rows are arrays that make no columns: of different lengths, without values, or all missing."""
    if not isinstance(result, list | tuple):
        return False
    lengths = {len(row) if _is_array(row) else None for row in result}
    return len(lengths) > 1 or lengths == {0} or (bool(result) and all(map(is_missing, result)))


def _is_array(row: Any) -> bool:
    return isinstance(row, list | tuple | pd.Series) or (isinstance(row, np.ndarray) and row.ndim > 0)


def _dense(column: pd.Series) -> pd.Series:
    return column.sparse.to_dense() if isinstance(column.dtype, pd.SparseDtype) else column


def _frame_of_rows(rows: list[Any]) -> pd.DataFrame:
    """A list is one column, unless its rows have parts."""
    first = next((row for row in rows if not is_missing(row)), None)
    if isinstance(first, Mapping) or hasattr(first, "model_dump") or names_of(first) is not None:
        records: list[Any] = [{} if is_missing(row) else as_record(row) for row in rows]
        names = dict.fromkeys(name for record in records for name in record)
        return _frame_of_objects({name: [record.get(name) for record in records] for name in names})
    if _is_array(first):
        return pd.DataFrame(rows, dtype=object)
    return _frame_of_objects({0: rows})


def _frame_of_objects(columns: dict[Any, Any]) -> pd.DataFrame:
    """Columns of the objects themselves: pandas would make floats of integers with a gap."""
    return pd.DataFrame({name: pd.Series(list(values), dtype=object) for name, values in columns.items()})


def _kind(column: pd.Series, is_python: bool) -> str:
    """The dtype, or for objects what they are, in words; for Python's values the dtype that pandas would give them.

    A gap among Python's values changes nothing: which columns are taken must not depend on the rows.
    """
    if is_python:
        column = column.dropna().infer_objects()
    dtype = column.dtype
    kind = getattr(dtype, "kind", "O")
    if kind in "iu":
        if dtype.itemsize < 4 or (kind == "i" and dtype.itemsize == 4):
            return "narrow"
        return "int64" if kind == "i" else "unsigned"
    if kind in "bfM":
        return {"b": "boolean", "f": "floating", "M": "datetime"}[kind]
    inferred: str = pd.api.types.infer_dtype(column, skipna=True)
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
    texts = [None if gone else str(value) for value, gone in zip(column, column.isna(), strict=True)]
    return pd.Series(texts, index=column.index, dtype=object)
