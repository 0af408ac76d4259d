# SPDX-License-Identifier: Apache-2.0
"""Which part of a model's result belongs to which row of its batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.scoring.dtypes import as_numpy
from sparkmodel.scoring.values import names_of


def in_rows(result: Any) -> Any:
    """A result with tensors of other libraries as ndarrays, and pandas' rows in the order of the batch.

    A model gets frames whose index counts the rows from 0. A result whose index has the same numbers in another order,
    since the model sorted or grouped them, belongs to the rows that the index says. Any other index says nothing.
    """
    if isinstance(result, pd.DataFrame | pd.Series):
        order = _order(result.index)
        return result if order is None else result.iloc[order]
    names = None if isinstance(result, type) else names_of(result)
    if names is not None:  # a namedtuple or dataclass of columns
        columns = result if isinstance(result, tuple) else [getattr(result, name) for name in names]
        result = dict(zip(names, columns, strict=True))
    if isinstance(result, dict):
        return {name: in_rows(column) for name, column in result.items()}
    array = as_numpy(result)
    return result if array is None else array


def _order(index: pd.Index) -> np.ndarray[Any, Any] | None:
    """Where each row of the batch is, None if the index does not say or the rows are in their places."""
    rows = len(index)
    if isinstance(index, pd.RangeIndex) and (index.start, index.step) == (0, 1):
        return None
    if not pd.api.types.is_integer_dtype(index.dtype) or index.hasnans or not rows:
        return None
    numbers = index.to_numpy(np.int64)
    if numbers.min() != 0 or numbers.max() != rows - 1 or not index.is_unique:
        return None
    return np.argsort(numbers)


def outputs_of_network(result: Any, rows: int | None, type_: pa.DataType) -> list[Any]:
    """The ways to read a list or tuple: as rows, or as one array for each field of a struct, as networks give them.

    A tuple of as many arrays as there are fields is always the fields. Of a list that has as many arrays as the batch
    has rows, and each of them as many values, nobody can say which it is: both ways come back.
    """
    width = type_.num_fields if pa.types.is_struct(type_) else 0
    if not isinstance(result, list | tuple) or not result or len(result) != width:
        return [result]
    arrays = [_as_column(part) for part in result]
    lengths = {None if array is None else len(array) for array in arrays}
    if None in lengths or len(lengths) > 1 or rows not in (None, *lengths):
        return [result]
    fields = dict(enumerate(arrays))
    is_open = isinstance(result, list) and len(result) in lengths and all(np.ndim(array) == 1 for array in arrays)
    return [fields, result] if is_open and rows is not None and rows > 1 else [fields]


def _as_column(part: Any) -> Any:
    if isinstance(part, pd.Series | pd.DataFrame):
        return in_rows(part)
    array = as_numpy(part)
    return None if array is None or array.ndim == 0 else array


def count_rows(result: Any) -> int | None:
    """Rows of a result, None if it has none or no order."""
    if isinstance(result, dict):
        counts = {count_rows(value) for value in result.values()}
        return counts.pop() if len(counts) == 1 else None
    if isinstance(result, str | bytes | set | frozenset):
        return None
    shape = getattr(result, "shape", None)
    if isinstance(shape, tuple):
        return int(shape[0]) if shape else None
    return len(result) if hasattr(result, "__len__") else None
