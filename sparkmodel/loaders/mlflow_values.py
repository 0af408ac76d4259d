# SPDX-License-Identifier: Apache-2.0
"""Values in forms that MLflow's own checks let pass."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
from mlflow.types import DataType
from mlflow.types.schema import Array, Map, Object


def has_times_in_objects(type_: Any, within: bool = False) -> bool:
    """Whether a type of MLflow's has datetimes in objects or maps."""
    if isinstance(type_, Array):
        return has_times_in_objects(type_.dtype, within)
    if isinstance(type_, Map):
        return has_times_in_objects(type_.value_type, True)
    if isinstance(type_, Object):
        return any(has_times_in_objects(prop.dtype, True) for prop in type_.properties)
    return within and type_ == DataType.datetime


def with_scalar_times(frame: Any) -> Any:
    """The frame with NumPy's times in its objects: MLflow takes Python's, and pandas', for no scalars.

    The model then gets `pd.Timestamp`.
    """
    return _by_column(frame, lambda column: pd.api.types.is_object_dtype(column.dtype), _scalar_times)


def with_nones(frame: Any) -> Any:
    """The frame with None for NULL among integers, booleans and times: type hints know no `pd.NA` and no `NaT`."""
    return _by_column(frame, _has_other_nulls, lambda value: None if pd.isna(value) else value)


def _by_column(frame: Any, is_meant: Any, convert: Any) -> Any:
    if not isinstance(frame, pd.DataFrame):
        return frame
    result = frame.copy(deep=False)
    for i in range(frame.shape[1]):
        column = frame.iloc[:, i]
        if is_meant(column):
            result.isetitem(i, pd.Series([convert(value) for value in column], index=frame.index, dtype=object))
    return result


def _has_other_nulls(column: Any) -> bool:
    dtype = column.dtype
    is_float = isinstance(dtype, np.dtype) and dtype.kind in "fO"  # of these MLflow itself makes None
    return not is_float and not isinstance(dtype, pd.StringDtype) and bool(column.isna().any())


def _scalar_times(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return np.datetime64(value)
    if isinstance(value, dict):
        return {key: _scalar_times(one) for key, one in value.items()}
    if isinstance(value, np.ndarray) and value.dtype == object:
        result = np.empty(len(value), dtype=object)
        for i, one in enumerate(value):
            result[i] = _scalar_times(one)
        return result
    return value
