# SPDX-License-Identifier: Apache-2.0
"""CSV and Parquet as the Arrow table of the model's inputs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from sparkmodel.errors import BatchTooLargeError, MalformedRequestError, SchemaMismatchError
from sparkmodel.names import missing, places
from sparkmodel.rest.mlflow.columns import fitted
from sparkmodel.rest.settings import Settings
from sparkmodel.schema import Column
from sparkmodel.scoring.casts import cast
from sparkmodel.scoring.guesses import guess_csv
from sparkmodel.spec import ModelSpec

_WHAT = "Cannot read the request"
_TIMES = 5  # as much memory as so many of the longest bodies
_ROWS = 10_000
_HINT = "send what to_csv(index=False) writes"
# what pandas takes for a gap among numbers; NaN is a number, and a text that says NA is a text
_NULLS = [text for text in pa.csv.ConvertOptions().null_values if "nan" not in text.lower()]


def table_of_csv(spec: ModelSpec, body: bytes) -> tuple[pa.Table, bool]:
    """The rows of a CSV text with a header; empty fields are NULL.

    Raises:
        MalformedRequestError: it is no CSV.
        SchemaMismatchError: a required column is missing, or a value does not fit.
    """
    inputs = spec.signature.inputs
    if inputs is None or any(column.type is None or column.shape is not None for column in inputs):
        return _guessed(spec, body)
    if any(column.name is None for column in inputs):  # the columns' order binds
        table = _read_csv(body, {}, None)
        return table.select(range(min(len(inputs), table.num_columns))), False
    found = _bound(spec, inputs, _header(body))
    table = _read_csv(body, {name: _as_read(column) for name, column in found.items()}, list(found))
    arrays = [_taken(spec, column, table[name].combine_chunks()) for name, column in found.items()]
    return pa.table(arrays, names=[str(column.name) for column in found.values()]), True


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


def _header(body: bytes) -> list[str]:
    """The names of a CSV text's columns."""
    try:
        lines = csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline=""))
        return next((line for line in lines if line), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise MalformedRequestError(_WHAT, f"its body is no CSV: {error}", _HINT) from error


def _bound(spec: ModelSpec, inputs: Sequence[Column], names: list[str]) -> dict[str, Column]:
    """The columns that the model takes, by their names in the text."""
    what, found = f"Cannot score with '{spec.name}'", {}
    for column in inputs:
        at = places(str(column.name), names)
        if len(at) > 1:
            raise SchemaMismatchError(what, f"column '{column.name}' is there {len(at)} times", "give it once")
        if at:
            found[names[at[0]]] = column
        elif column.required:
            raise missing(what, str(column.name), inputs, names)
    return found


def _as_read(column: Column) -> pa.DataType:
    """The type that Arrow's reader makes: of a float a double, as it would make infinity of 1e39."""
    if _is_text(column):
        return pa.string()
    return pa.float64() if pa.types.is_floating(column.type) else column.type


def _taken(spec: ModelSpec, column: Column, array: pa.Array) -> pa.Array:
    """What was read, as the model takes it."""
    if pa.types.is_string(array.type):
        array = pa.compute.if_else(pa.compute.equal(array, ""), None, array)
    if _is_text(column):
        return _of_texts(spec, column, array.to_pylist())
    try:
        return cast(array, column.type)
    except ValueError as error:
        raise SchemaMismatchError(
            f"Cannot score with '{spec.name}'", f"column '{column.name}' does not fit: {error}", _HINT
        ) from error


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


def _read_csv(body: bytes, types: dict[str, pa.DataType], names: list[str] | None) -> pa.Table:
    try:
        return pa.csv.read_csv(
            io.BytesIO(body),
            # in one piece: a row must not be longer than that
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=min(max(1, len(body)), 2**31 - 1)),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(column_types=types, include_columns=names, null_values=_NULLS),
        )
    except (pa.ArrowException, ValueError) as error:
        misfits = "conversion error" in str(error) and "UTF8" not in str(error)
        name = "its body does not fit" if misfits else "its body is no CSV"
        kind = SchemaMismatchError if misfits else MalformedRequestError
        raise kind(_WHAT, f"{name}: {error}", _HINT) from error


def _guessed(spec: ModelSpec, body: bytes) -> tuple[pa.Table, bool]:
    """What pandas takes the columns for, as MLflow's server does."""
    try:
        return guess_csv(body.decode("utf-8")), True
    except ValueError as error:  # UnicodeDecodeError, and pandas' own errors, are ValueErrors
        raise MalformedRequestError(_WHAT, f"its body is no CSV: {error}", "send what to_csv() writes") from error
