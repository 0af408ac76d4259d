# SPDX-License-Identifier: Apache-2.0
"""CSV and Parquet as the Arrow table of the model's inputs."""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sparkmodel.errors import BatchTooLargeError, MalformedRequestError, SchemaMismatchError
from sparkmodel.names import missing
from sparkmodel.rest.mlflow.columns import fitted
from sparkmodel.rest.settings import Settings
from sparkmodel.schema import Column
from sparkmodel.spec import ModelSpec

_WHAT = "Cannot read the request"
_TIMES = 5  # as much memory as so many of the longest bodies
_ROWS = 10_000


def table_of_csv(spec: ModelSpec, body: bytes) -> tuple[pa.Table, bool]:
    """The rows of a CSV text with a header; empty fields are NULL.

    Raises:
        MalformedRequestError: it is no CSV.
        SchemaMismatchError: a required column is missing, or a value does not fit.
    """
    inputs = spec.signature.inputs
    if inputs is None or any(column.type is None or column.shape is not None for column in inputs):
        return _guessed(spec, body)
    wanted = {str(column.name): column for column in inputs if column.name is not None}
    texts = {name for name, column in wanted.items() if _is_text(column)}
    types = {name: pa.string() if name in texts else column.type for name, column in wanted.items()}
    table = _read_csv(body, types)
    if not wanted:  # the columns' order binds
        return table.select(range(min(len(inputs), table.num_columns))), False
    for name, column in wanted.items():
        if column.required and name not in table.column_names:
            raise missing(f"Cannot score with '{spec.name}'", name, inputs, table.column_names)
    found = [name for name in table.column_names if name in wanted]
    table = table.select(found)
    for i, name in enumerate(found):
        if name in texts:
            table = table.set_column(i, name, _of_texts(spec, wanted[name], table.column(i).to_pylist()))
    return table, True


def table_of_parquet(spec: ModelSpec, body: bytes, settings: Settings) -> tuple[pa.Table, bool]:
    """The rows of a Parquet file, without those columns that only are pandas' index.

    Raises:
        MalformedRequestError: it is no Parquet file.
        BatchTooLargeError: its values take more memory than five of the longest bodies.
    """
    inputs = spec.signature.inputs
    limit = _TIMES * settings.max_body_bytes
    try:
        file = pa.parquet.ParquetFile(io.BytesIO(body))
        groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
        rows = max(1, min(_ROWS, limit // max([1, *groups])))  # a value may be as large as its group, in each row
        batches, size = [], 0
        for batch in file.iter_batches(rows):
            size += batch.nbytes
            if size > limit:
                raise BatchTooLargeError(_WHAT, f"its values take more than {limit} bytes", "send fewer rows")
            batches.append(batch)
        table = pa.Table.from_batches(batches, file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise MalformedRequestError(
            _WHAT, f"its body is no Parquet file: {error}", "send what to_parquet() writes"
        ) from error
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    table = table.drop_columns([name for name in index if isinstance(name, str) and name in table.column_names])
    table = table.replace_schema_metadata(None)
    if inputs is not None and all(column.name is None for column in inputs) and not inputs[0].shape:
        return table.select(range(min(len(inputs), table.num_columns))), False
    return table, True


def _is_text(column: Column) -> bool:
    """Whether its values are in CSV as in JSON: Arrow's reader makes plain numbers, truths and texts only."""
    type_ = column.type
    return not (
        pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_string(type_)
    )


def _of_texts(spec: ModelSpec, column: Column, values: list[object]) -> pa.Array:
    what, name = f"Cannot score with '{spec.name}'", str(column.name)
    if pa.types.is_nested(column.type):
        raise SchemaMismatchError(what, f"column '{name}' is {column.type}, which CSV has not", "send JSON")
    return fitted(spec, what, name, values, column.type)


def _read_csv(body: bytes, types: dict[str, pa.DataType]) -> pa.Table:
    try:
        return pa.csv.read_csv(
            io.BytesIO(body),
            read_options=pa.csv.ReadOptions(use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True),
        )
    except (pa.ArrowException, ValueError) as error:
        name = "its body does not fit" if "conversion error" in str(error) else "its body is no CSV"
        kind = SchemaMismatchError if "conversion error" in str(error) else MalformedRequestError
        raise kind(_WHAT, f"{name}: {error}", "send what to_csv(index=False) writes") from error


def _guessed(spec: ModelSpec, body: bytes) -> tuple[pa.Table, bool]:
    """What pandas takes the columns for, as MLflow's server does."""
    try:
        frame = pd.read_csv(io.StringIO(body.decode("utf-8")))
    except (ValueError, pd.errors.EmptyDataError) as error:  # UnicodeDecodeError and ParserError are ValueErrors
        raise MalformedRequestError(_WHAT, f"its body is no CSV: {error}", "send what to_csv() writes") from error
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None), True
