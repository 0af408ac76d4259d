# SPDX-License-Identifier: Apache-2.0
"""Local data for `Model.predict`: pandas, Arrow or Python rows in, the same kind out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.scoring.inputs import NULLABLE

BATCH_ROWS = 10_000  # as Spark's spark.sql.execution.arrow.maxRecordsPerBatch


def to_table(what: str, data: Any) -> tuple[pa.Table, bool]:
    """The rows as an Arrow table, and whether its column names mean anything.

    Args:
        what: The action for an error.
        data: A pandas DataFrame, an Arrow Table or RecordBatch, or a list of dicts.

    Raises:
        SchemaMismatchError: it is something else, or its columns have no one type.
    """
    try:
        if isinstance(data, pd.DataFrame):
            by_name = not isinstance(data.columns, pd.RangeIndex)
            table = pa.Table.from_pandas(data.set_axis(map(str, data.columns), axis=1), preserve_index=False)
            return table.replace_schema_metadata(None), by_name
        if isinstance(data, pa.RecordBatch):
            return pa.Table.from_batches([data]), True
        if isinstance(data, pa.Table):
            return data, True
        if isinstance(data, list) and all(isinstance(row, dict) for row in data):
            names = dict.fromkeys(str(name) for row in data for name in row)  # of all rows, in the order they come
            return pa.table({name: [row.get(name) for row in data] for name in names}), True
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise SchemaMismatchError(what, f"the rows cannot be made Arrow columns: {error}") from error
    raise SchemaMismatchError(
        what,
        f"the input is a {type(data).__name__}",
        "pass a pandas DataFrame, a pyarrow Table or RecordBatch, or a list of dicts",
    )


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

    A Series with the frame's index for pandas (a DataFrame for a struct), a ChunkedArray for Arrow, a list for
    Python rows.
    """
    if isinstance(data, pd.DataFrame):
        if pa.types.is_struct(result.type):
            columns = dict(zip((field.name for field in result.type), result.flatten(), strict=True))
            return pd.DataFrame({name: _to_series(column) for name, column in columns.items()}).set_index(data.index)
        return pd.Series(_to_series(result).array, index=data.index, name="prediction")
    return result.to_pylist() if isinstance(data, list) else result


def _to_series(column: pa.ChunkedArray) -> Any:
    """Integers and booleans with a NULL become pandas' nullable types: floats would not be exact."""
    return column.to_pandas(types_mapper=NULLABLE.get) if column.null_count else column.to_pandas()
