# SPDX-License-Identifier: Apache-2.0
"""From what a model returns to an Arrow array of the declared type.

The values decide first what type they are, whatever container they come in; then they are cast, checked (`casts`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.errors import WrongResultTypeError, WrongRowCountError
from sparkmodel.schema import is_list
from sparkmodel.scoring.casts import cast
from sparkmodel.scoring.mlflow_rules import pick_columns

RESULT_FIELD = "prediction"


def result_schema(type_: pa.DataType) -> pa.Schema:
    """The schema of every answer."""
    return pa.schema([pa.field(RESULT_FIELD, type_)])


def to_array(
    what: str, result: Any, rows: int | None, type_: pa.DataType, *, time_zone: str = "UTC", like_mlflow: bool = False
) -> pa.Array:
    """Convert what a model returned for a batch.

    Args:
        what: The action for an error, `Cannot score with 'wine'`.
        result: An Arrow array or table, a pandas Series or DataFrame, an ndarray, a list, or a dict of those.
        rows: Rows of the batch; None takes what comes.
        type_: The declared type of one row's prediction.
        time_zone: Whose wall clock a timestamp without a zone shows.
        like_mlflow: Pick columns as `mlflow.pyfunc.spark_udf` does.

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
    if rows is not None and count != rows:
        raise WrongRowCountError(what, f"the model gave {count} rows for a batch of {rows}")
    try:
        picked = pick_columns(result, type_) if like_mlflow else result
        return cast(_convert(picked, type_, time_zone), type_, time_zone)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise WrongResultTypeError(
            what,
            f"the model returned {_describe(result)}, which does not fit {type_}: {error}",
            "declare what the model really gives: RETURNS in SQL, result_type in Python",
        ) from error


def _count(result: Any) -> int | None:
    """Rows of a result, None if it has none or no order."""
    if isinstance(result, dict):
        counts = {_count(value) for value in result.values()}
        return counts.pop() if len(counts) == 1 else None
    if isinstance(result, str | bytes | set | frozenset):
        return None
    shape = getattr(result, "shape", None)  # scipy's sparse matrices have no len
    if isinstance(shape, tuple):
        return int(shape[0]) if shape else None
    return len(result) if hasattr(result, "__len__") else None


def _describe(result: Any) -> str:
    if isinstance(result, np.ndarray):
        return f"an ndarray of {result.dtype} with shape {result.shape}"
    if isinstance(result, pd.DataFrame):
        return f"a DataFrame with columns {[str(c) for c in result.columns]}"
    if isinstance(result, pd.Series):
        return f"a Series of {result.dtype}"
    return f"a {type(result).__name__}"


def _convert(result: Any, type_: pa.DataType, time_zone: str) -> pa.Array:
    if isinstance(result, pa.Array | pa.ChunkedArray):
        return result
    if isinstance(result, pa.Table | pa.RecordBatch):
        columns = {name: result.column(i) for i, name in enumerate(result.schema.names)}
        return _from_columns(columns, type_, time_zone)
    if isinstance(result, pd.DataFrame):
        return _from_columns({str(c): result.iloc[:, i] for i, c in enumerate(result.columns)}, type_, time_zone)
    if isinstance(result, dict):
        return _from_columns({str(name): column for name, column in result.items()}, type_, time_zone)
    if isinstance(result, pd.Series):
        return _from_series(result, type_)
    if isinstance(result, np.ndarray):
        return _from_numpy(result, type_, time_zone)
    if hasattr(result, "toarray"):  # scipy's sparse matrices
        return _from_numpy(np.asarray(result.toarray()), type_, time_zone)
    return _from_values(list(result), type_)


def _from_values(values: list[Any], type_: pa.DataType) -> pa.Array:
    # Arrow would take a dict for a struct; given the type it would truncate 0.7 to 0 without a word
    return pa.array(values, type_ if _has_map(type_) else None)


def _has_map(type_: pa.DataType) -> bool:
    if pa.types.is_map(type_):
        return True
    if is_list(type_):
        return _has_map(type_.value_type)
    return pa.types.is_struct(type_) and any(_has_map(field.type) for field in type_)


def _from_series(series: pd.Series, type_: pa.DataType) -> pa.Array:
    if series.dtype == object:
        # NaN stands for NULL among objects, but inside of an object it is a number
        missing = [isinstance(value, float) and value != value for value in series]
        return _from_values([None if gone else v for gone, v in zip(missing, series, strict=True)], type_)
    # NaN of a float column is a number and stays one; in other columns it is how pandas writes NULL
    is_float = isinstance(series.dtype, np.dtype) and series.dtype.kind == "f"
    return pa.array(series, from_pandas=not is_float)


def _from_columns(columns: dict[str, Any], type_: pa.DataType, time_zone: str) -> pa.Array:
    """Several columns become a struct by name, or by position where no name fits; or an array for each row."""
    if pa.types.is_struct(type_):
        fields = [type_.field(i) for i in range(type_.num_fields)]
        wanted = [field.name for field in fields]
        if not set(wanted) <= set(columns):
            if set(wanted) & set(columns) or len(wanted) != len(columns):
                raise ValueError(f"columns {list(columns)} are not the fields {wanted}")
            columns = dict(zip(wanted, columns.values(), strict=True))
        parts = [cast(_convert(columns[field.name], field.type, time_zone), field.type, time_zone) for field in fields]
        return pa.StructArray.from_arrays(parts, fields=fields)
    if len(columns) == 1:
        return _convert(next(iter(columns.values())), type_, time_zone)
    if is_list(type_):
        return _from_numpy(np.column_stack([np.asarray(column) for column in columns.values()]), type_, time_zone)
    raise ValueError(f"{len(columns)} columns {list(columns)} for one value")


def _from_numpy(array: np.ndarray[Any, Any], type_: pa.DataType, time_zone: str) -> pa.Array:
    if array.ndim == 1 and array.dtype != object and pa.types.is_struct(type_):
        array = array.reshape(-1, 1)
    if array.ndim == 2 and pa.types.is_struct(type_):
        return _from_columns({str(i): array[:, i] for i in range(array.shape[1])}, type_, time_zone)
    if array.ndim == 2 and array.shape[1] == 1 and not is_list(type_):
        array = array[:, 0]
    if array.ndim == 1:
        return _from_values(array.tolist(), type_) if array.dtype == object else pa.array(array)
    if not is_list(type_):
        raise ValueError(f"{array.ndim} dimensions for one value")
    values = pa.array(np.ascontiguousarray(array).reshape(-1))
    for width in reversed(array.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, width)
    return values
