# SPDX-License-Identifier: Apache-2.0
"""Local data for `Model.predict`: pandas, NumPy, Arrow or Python rows in, the same kind out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import Column
from sparkmodel.scoring.inputs import NULLABLE

BATCH_ROWS = 10_000  # as Spark's spark.sql.execution.arrow.maxRecordsPerBatch

_KINDS = "a pandas DataFrame or Series, an ndarray, a pyarrow Table or RecordBatch, a list of rows, a dict of columns"


def to_table(what: str, data: Any, inputs: Sequence[Column] | None = None) -> tuple[pa.Table, bool]:
    """The rows as an Arrow table, and whether its column names mean anything.

    Args:
        what: The action for an error.
        data: A pandas DataFrame; an Arrow Table or RecordBatch; a list of dicts; a dict of columns. Without names: a
            Series (one column), an ndarray (its first axis are the rows), a list of tuples or lists.
        inputs: The signature's inputs: whole floats are taken where they are integers, since pandas makes floats of
            integers beside a gap.

    Raises:
        SchemaMismatchError: it is something else, or its columns have no one type.
    """
    try:
        if isinstance(data, pa.Table | pa.RecordBatch):
            return pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data, True
        table, by_name = _read(what, data, inputs or ())
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise SchemaMismatchError(what, f"the rows cannot be made Arrow columns: {error}") from error
    return _with_integers(what, table, by_name, inputs or ()), by_name


def _read(what: str, data: Any, inputs: Sequence[Column]) -> tuple[pa.Table, bool]:
    if hasattr(data, "toarray"):  # scipy's sparse matrices
        data = data.toarray()
    if isinstance(data, pd.Series):
        return _of_frame(data.to_frame(0)), False
    if isinstance(data, pd.DataFrame):
        return _of_frame(data), not isinstance(data.columns, pd.RangeIndex)
    if isinstance(data, np.ndarray):
        return _of_array(data, inputs), False
    if isinstance(data, Mapping):
        if not all(isinstance(values, list | tuple | np.ndarray | pd.Series | pa.Array) for values in data.values()):
            raise SchemaMismatchError(what, "the input is a dict, but not of columns", "put one row into a list: [row]")
        return pa.table({str(name): _column(values) for name, values in data.items()}), True
    if isinstance(data, list) and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(str(name) for row in data for name in row)  # of all rows, in the order they come
        return pa.table({name: [row.get(name) for row in data] for name in names}), True
    if isinstance(data, list) and all(isinstance(row, list | tuple) for row in data):
        return pa.table({str(i): list(values) for i, values in enumerate(zip(*data, strict=True))}), False
    raise SchemaMismatchError(what, f"the input is a {type(data).__name__}", f"pass {_KINDS}")


def _of_frame(frame: pd.DataFrame) -> pa.Table:
    sparse = [i for i, dtype in enumerate(frame.dtypes) if isinstance(dtype, pd.SparseDtype)]
    if sparse:  # Arrow has no such arrays
        frame = frame.copy(deep=False)
        for i in sparse:
            frame.isetitem(i, frame.iloc[:, i].sparse.to_dense())
    table = pa.Table.from_pandas(frame.set_axis(map(str, frame.columns), axis=1), preserve_index=False)
    return table.replace_schema_metadata(None)


def _of_array(array: np.ndarray[Any, Any], inputs: Sequence[Column]) -> pa.Table:
    """One column for each of the second axis, or one of tensors where the model takes them or there are more axes."""
    if array.ndim == 2 and not any(column.shape for column in inputs):
        return pa.table({str(i): pa.array(array[:, i]) for i in range(array.shape[1])})
    return pa.table({"0": _column(array)})


def _column(values: Any) -> pa.Array:
    if not isinstance(values, np.ndarray) or values.ndim < 2:
        return pa.array(values, from_pandas=isinstance(values, pd.Series))
    lists = pa.array(np.ascontiguousarray(values).reshape(-1))
    for width in reversed(values.shape[1:]):
        lists = pa.FixedSizeListArray.from_arrays(lists, width)
    type_ = lists.type
    for _ in values.shape[1:]:
        type_ = type_.value_type
    for _ in values.shape[1:]:
        type_ = pa.list_(type_)
    return lists.cast(type_)


def _with_integers(what: str, table: pa.Table, by_name: bool, inputs: Sequence[Column]) -> pa.Table:
    by_name = by_name and all(column.name is not None for column in inputs)
    wanted = {str(column.name).casefold() if by_name else i: column for i, column in enumerate(inputs)}
    for i, field in enumerate(table.schema):
        column = wanted.get(field.name.casefold() if by_name else i)
        if column is None or column.type is None or column.shape or not pa.types.is_integer(column.type):
            continue
        if pa.types.is_floating(field.type):
            table = table.set_column(i, field.name, _integers(what, field.name, table.column(i)))
    return table


def _integers(what: str, name: str, floats: pa.ChunkedArray) -> pa.ChunkedArray:
    values = pa.compute.if_else(pa.compute.is_nan(floats), pa.scalar(None, floats.type), floats)
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise SchemaMismatchError(
            what, f"column '{name}' has floats, the model takes integers: {error}", "round them, or cast them"
        ) from error


def to_batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The table in batches; columns of dictionaries are decoded, since the wire carries none."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(i)
            decoded = [chunk.dictionary_decode() for chunk in column.chunks]
            table = table.set_column(i, field.name, pa.chunked_array(decoded, field.type.value_type))
    yield from table.to_batches(max_chunksize=BATCH_ROWS)


def like_input(result: pa.ChunkedArray, data: Any) -> Any:
    """The predictions in the input's kind.

    A Series with the frame's index for pandas (a DataFrame for a struct), a ChunkedArray for Arrow, an ndarray for
    one, a list for Python rows and columns.
    """
    if isinstance(data, pd.DataFrame | pd.Series):
        if pa.types.is_struct(result.type):
            columns = dict(zip((field.name for field in result.type), result.flatten(), strict=True))
            return pd.DataFrame({name: _to_series(column) for name, column in columns.items()}).set_index(data.index)
        return pd.Series(_to_series(result).array, index=data.index, name="prediction")
    if isinstance(data, np.ndarray):
        return _to_series(result).to_numpy()
    return result if isinstance(data, pa.Table | pa.RecordBatch) else result.to_pylist()


def _to_series(column: pa.ChunkedArray) -> Any:
    """Integers and booleans with a NULL become pandas' nullable types: floats would not be exact."""
    return column.to_pandas(types_mapper=NULLABLE.get) if column.null_count else column.to_pandas()
