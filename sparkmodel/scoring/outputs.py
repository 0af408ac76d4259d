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
from sparkmodel.scoring.columns import REFUSALS, from_result
from sparkmodel.scoring.later import Pieces
from sparkmodel.scoring.mlflow_rules import pick_columns
from sparkmodel.scoring.rows import count_rows, in_rows, outputs_of_network

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
        result: An Arrow array or table, a pandas Series or DataFrame, an ndarray, a list, a dict of those, or pieces:
            each of them for some rows, or the value of one row.
        rows: Rows of the batch; None takes what comes.
        type_: The declared type of one row's prediction.
        time_zone: Whose wall clock a timestamp without a zone shows.
        like_mlflow: Pick columns as `mlflow.pyfunc.spark_udf` does.

    Raises:
        WrongRowCountError: not one prediction for each row.
        WrongResultTypeError: a value does not fit the type without loss.
    """
    if isinstance(result, Pieces):
        return _joined(what, result, rows, type_, time_zone=time_zone, like_mlflow=like_mlflow)
    given = in_rows(result)
    readings = outputs_of_network(given, rows, type_)
    count = count_rows(readings[0])
    if count is None:
        raise WrongResultTypeError(
            what,
            f"the model returned a {type(result).__name__}, not an array, Series, DataFrame or list",
            "return one prediction for each row",
        )
    if rows is not None and count != rows:
        raise WrongRowCountError(what, f"the model gave {count} rows for a batch of {rows}")
    try:
        if len(readings) > 1:
            return _the_only(readings, type_, time_zone)
        picked = pick_columns(readings[0], type_) if like_mlflow else readings[0]
        return from_result(picked, type_, time_zone)
    except REFUSALS as error:
        raise WrongResultTypeError(
            what,
            f"the model returned {_describe(result)}, which does not fit {type_}: {error}",
            "declare what the model really gives: RETURNS in SQL, result_type in Python",
        ) from error


def _joined(what: str, pieces: Pieces, rows: int | None, type_: pa.DataType, **how: Any) -> pa.Array:
    """What a generator gave. Values of single rows that follow each other are converted together."""
    parts: list[Any] = []
    values: list[Any] | None = None
    for piece in pieces:
        if count_rows(in_rows(piece)) is not None:
            parts.append(piece)
            values = None
        elif values is None:
            values = [piece]
            parts.append(values)
        else:
            values.append(piece)
    arrays = [to_array(what, part, None, type_, **how) for part in parts]
    result = pa.concat_arrays(arrays) if arrays else pa.nulls(0, type_)
    if rows is not None and len(result) != rows:
        raise WrongRowCountError(
            what, f"the model gave {len(result)} rows, in {len(pieces)} pieces, for a batch of {rows}"
        )
    return result


def _the_only(readings: list[Any], type_: pa.DataType, time_zone: str) -> pa.Array:
    """The one way to read a result that gives values of the declared type."""
    found: list[pa.Array] = []
    errors: list[Exception] = []
    for reading in readings:
        try:
            found.append(from_result(reading, type_, time_zone))
        except REFUSALS as error:
            errors.append(error)
    if not found:
        raise errors[0]
    if any(array != found[0] for array in found):
        raise ValueError(
            f"its {len(readings[0])} arrays of {len(readings[0])} values could be the fields or the rows; a tuple or "
            "a dict of arrays is the fields, a list of tuples the rows"
        )
    return found[0]


def _describe(result: Any) -> str:
    if isinstance(result, np.ndarray):
        return f"an ndarray of {result.dtype} with shape {result.shape}"
    if isinstance(result, pd.DataFrame):
        return f"a DataFrame with columns {[str(c) for c in result.columns]}"
    if isinstance(result, pd.Series):
        return f"a Series of {result.dtype}"
    return f"a {type(result).__name__}"
