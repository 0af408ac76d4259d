# SPDX-License-Identifier: Apache-2.0
"""From what a model returns to an Arrow array of the declared type, checked and without loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.errors import WrongResultTypeError, WrongRowCountError
from sparkmodel.schema import is_list

RESULT_FIELD = "prediction"


def result_schema(type_: pa.DataType) -> pa.Schema:
    """The schema of every answer."""
    return pa.schema([pa.field(RESULT_FIELD, type_)])


def to_array(what: str, result: Any, rows: int, type_: pa.DataType) -> pa.Array:
    """Convert what a model returned for a batch.

    Args:
        what: The action for an error, `Cannot score with 'wine'`.
        result: An Arrow array or table, a pandas Series or DataFrame, an ndarray, a list, or a dict of those.
        rows: Rows of the batch.
        type_: The declared type of one row's prediction.

    Raises:
        WrongRowCountError: not one prediction for each row.
        WrongResultTypeError: a value does not fit the type without loss.
    """
    count = _count(result)
    if count is None:
        raise WrongResultTypeError(
            what,
            f"the model returned a {type(result).__name__}, not an array, Series, DataFrame or list",
            "return one prediction for each row",
        )
    if count != rows:
        raise WrongRowCountError(what, f"the model gave {count} rows for a batch of {rows}")
    try:
        array = _convert(result, type_)
        return array if array.type == type_ else _cast(array, type_)
    except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError) as error:
        raise WrongResultTypeError(
            what,
            f"the model returned {_describe(result)}, which does not fit {type_}: {error}",
            "pass the result_type that the model really gives",
        ) from error


def _count(result: Any) -> int | None:
    if isinstance(result, dict):
        counts = {len(value) for value in result.values()}
        return counts.pop() if len(counts) == 1 else None
    if isinstance(result, np.ndarray) and result.ndim == 0:
        return None
    if isinstance(result, str | bytes) or not hasattr(result, "__len__"):
        return None
    return len(result)


def _describe(result: Any) -> str:
    kind = type(result).__name__
    if isinstance(result, np.ndarray):
        return f"an ndarray of {result.dtype} with shape {result.shape}"
    if isinstance(result, pd.DataFrame):
        return f"a DataFrame with columns {[str(c) for c in result.columns]}"
    if isinstance(result, pd.Series):
        return f"a Series of {result.dtype}"
    return f"a {kind}"


def _convert(result: Any, type_: pa.DataType) -> pa.Array:
    if isinstance(result, pa.ChunkedArray):
        return result.combine_chunks()
    if isinstance(result, pa.Array):
        return result
    if isinstance(result, pa.Table | pa.RecordBatch):
        columns = {name: result.column(i) for i, name in enumerate(result.schema.names)}
        return _from_columns(columns, type_)
    if isinstance(result, pd.DataFrame):
        return _from_columns({str(c): result.iloc[:, i] for i, c in enumerate(result.columns)}, type_)
    if isinstance(result, dict):
        return _from_columns(result, type_)
    if isinstance(result, pd.Series):
        return _from_series(result)
    if isinstance(result, np.ndarray):
        return _from_numpy(result, type_)
    if hasattr(result, "toarray"):  # scipy's sparse matrices
        return _from_numpy(result.toarray(), type_)
    return pa.array(result, type_)


def _from_series(series: pd.Series) -> pa.Array:
    # NaN of a float column is a number and stays one; in other columns it is how pandas writes NULL
    is_float = isinstance(series.dtype, np.dtype) and series.dtype.kind == "f"
    return pa.array(series, from_pandas=not is_float)


def _from_columns(columns: dict[str, Any], type_: pa.DataType) -> pa.Array:
    """Several columns become a struct by name, or by position where no name fits; or an array for each row."""
    arrays = {name: column for name, column in columns.items()}
    if pa.types.is_struct(type_):
        fields = [type_.field(i) for i in range(type_.num_fields)]
        wanted = [field.name for field in fields]
        if not set(wanted) <= set(arrays):
            if set(wanted) & set(arrays) or len(wanted) != len(arrays):
                raise KeyError(f"columns {list(arrays)} are not the fields {wanted}")
            arrays = dict(zip(wanted, arrays.values(), strict=True))
        parts = [_cast(_convert(arrays[field.name], field.type), field.type) for field in fields]
        return pa.StructArray.from_arrays(parts, fields=fields)
    if len(arrays) == 1:
        return _convert(next(iter(arrays.values())), type_)
    if is_list(type_):
        rows = np.column_stack([np.asarray(column) for column in arrays.values()])
        return _from_numpy(rows, type_)
    raise ValueError(f"{len(arrays)} columns {list(arrays)} for one value")


def _from_numpy(array: np.ndarray[Any, Any], type_: pa.DataType) -> pa.Array:
    if array.ndim == 2 and pa.types.is_struct(type_):
        return _from_columns({str(i): array[:, i] for i in range(array.shape[1])}, type_)
    if array.ndim == 2 and array.shape[1] == 1 and not is_list(type_):
        array = array[:, 0]
    if array.ndim == 1:
        return pa.array(array, type_ if array.dtype == object else None)
    if not is_list(type_):
        raise ValueError(f"{array.ndim} dimensions for one value")
    values = pa.array(np.ascontiguousarray(array).reshape(-1))
    for width in reversed(array.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, width)
    return values


def _cast(array: pa.Array, type_: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_boolean(type_) and pa.types.is_integer(array.type):
        values = array.drop_null().unique().to_pylist()
        if not set(values) <= {0, 1}:  # Arrow takes any number but 0 for true
            raise ValueError(f"{values[:5]} are not all 0 or 1")
    return array.cast(type_)
