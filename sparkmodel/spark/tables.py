# SPDX-License-Identifier: Apache-2.0
"""Model directories as rows of tables: any table that Spark can write, by whatever version it keeps."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession

from sparkmodel.errors import (
    InvalidOptionError,
    ModelCorruptError,
    ModelLoadError,
    ModelNotFoundError,
    NameTakenError,
    UnsupportedSourceError,
)
from sparkmodel.loaders.bundle import Piece, pack

# in the order of Piece's fields
_COLUMNS = {
    "path": "string",
    "mode": "int",
    "size": "bigint",
    "offset": "bigint",
    "data": "binary",
    "sha256": "string",
    "pieces": "int",
    "digest": "string",
}
_ARROW = {"string": pa.string(), "int": pa.int32(), "bigint": pa.int64(), "binary": pa.binary()}
_SCHEMA = pa.schema([(name, _ARROW[kind]) for name, kind in _COLUMNS.items()])

_PIECE_BYTES = 256 << 10  # the JVM wants two of its regions, of 1 MiB in a small heap, for an array of 1 MiB
_PIECES_IN_BATCH = 64  # a batch is a task on the way in, and a partition on the way out: 16 MiB
_BATCHES_IN_SLAB = 8  # what the JVM gets at once: 128 MiB; above 48 MiB it keeps the bytes as they are

_PART = r"(?:[\w-]+|`(?:[^`]|``)+`)"
_NAME = re.compile(rf"{_PART}(?:\.{_PART}){{0,2}}")
_TIMESTAMP = r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?"
_SOURCE = re.compile(rf"table:(?P<name>{_NAME.pattern})(?:@(?:(?P<version>\d+)|(?P<timestamp>{_TIMESTAMP})))?")
_FORM = "a table reads table:name, schema.name or catalog.schema.name, then @3 or @2026-11-01 10:00:00 for a version"


def save_to_table(
    spark: SparkSession,
    model_dir: str | os.PathLike[str],
    table: str,
    *,
    mode: str = "overwrite",
    format: str | None = None,
) -> str:
    """Store a model directory as the rows of a table; `register` takes it from there as `table:<name>`.

    All rows are written by one Spark job: where the table's format commits atomically, readers see the old model or
    the new one, and where it keeps versions, this makes one. Spark's driver holds the model in memory meanwhile: about
    three times its size, ten times on a Connect server.

    Args:
        spark: The session, classic or Connect.
        model_dir: A directory on this machine, such as MLflow's, with all that the model needs.
        table: Name of the table, with its schema and catalog if need be; parts with other characters than letters,
            digits, '_' and '-' in backquotes.
        mode: `overwrite` takes the place of the model that the table has; `error` wants a new table.
        format: Such as `delta` or `parquet`; by default that of the table, or of the session for a new one.

    Returns:
        The checksum of the directory's content, in hex: equal content has equal checksums.

    Raises:
        ModelNotFoundError: the directory is missing or empty.
        UnsupportedSourceError: the directory holds a socket, or a link that leads out of it.
        NameTakenError: the table exists, and the mode is `error`.
        InvalidOptionError: the mode or the name is not one, or the table has other columns than a model's.
        ModelLoadError: a file cannot be read.
        ModelCorruptError: a file changes meanwhile.
        PySparkException: Spark cannot write the table; its own reason.
    """
    what = f"Cannot save a model to table '{table}'"
    if mode not in ("overwrite", "error"):
        raise InvalidOptionError(what, f"mode is '{mode}'", "modes are 'overwrite' and 'error'")
    if not _NAME.fullmatch(table):
        raise InvalidOptionError(what, "that is not a table's name", "a name reads catalog.schema.name or less of it")
    pieces = pack(model_dir, _PIECE_BYTES)
    name = _quoted(table)
    if spark.catalog.tableExists(name):
        if mode == "error":
            raise NameTakenError(what, "it exists", "take another name, or mode='overwrite'")
        columns = dict(spark.table(name).dtypes)
        if columns != _COLUMNS:
            raise InvalidOptionError(
                what, f"it exists and holds something else: its columns are {list(columns)}", "take another name"
            )
        format = format or _provider(spark, name)
    first = next(pieces)
    _write(_frame(spark, itertools.chain([first], pieces)), name, mode, format)
    gc.collect()  # Py4J's objects refer to themselves: until they are collected the JVM keeps the slabs
    return first.digest


def read_pieces(spark: SparkSession, name: str, source: str) -> Iterator[Piece]:
    """The pieces that a table holds, in any order and unchecked: `bundle.unpack` checks them.

    Args:
        spark: The session, classic or Connect.
        name: The model's name, for messages.
        source: `table:ai_model.mnist` for the newest state, `table:ai_model.mnist@3` for a version,
            `table:ai_model.mnist@2026-11-01 10:00:00` for the state at a time, in the session's time zone.

    Raises:
        UnsupportedSourceError: the source is not of this form, or the table's format keeps no versions.
        ModelNotFoundError: no such table or version.
        ModelCorruptError: the table has other columns than `save_to_table` makes, or a NULL.
        ModelLoadError: Spark fails to read the table.
    """
    what = f"Cannot register model '{name}' from '{source}'"
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise UnsupportedSourceError(what, "that is not a table's name", _FORM)
    query = f"SELECT * FROM {_quoted(match['name'])}"
    if match["version"]:
        query += f" VERSION AS OF {match['version']}"
    elif match["timestamp"]:
        query += f" TIMESTAMP AS OF '{match['timestamp']}'"
    try:
        frame = spark.sql(query)
        columns = dict(frame.dtypes)
    except PySparkException as error:
        if "TIME_TRAVEL" in (error.getCondition() or ""):
            fact = "the table's format keeps no versions"
            raise UnsupportedSourceError(what, fact, "leave the version out", str(error)) from error
        cls = ModelNotFoundError if isinstance(error, AnalysisException) else ModelLoadError
        raise cls(what, f"Spark says: {_first_line(error)}", details=str(error)) from error
    _check_columns(what, list(columns), columns == _COLUMNS)
    return _rows(frame, what)


def read_piece_file(path: str | os.PathLike[str], name: str, source: str) -> Iterator[Piece]:
    """The pieces in a file that somebody who has a Spark session wrote: the table's columns as one Arrow stream.

    Args:
        path: Of the file.
        name: The model's name, for messages.
        source: The table, for messages.

    Raises:
        ModelCorruptError: the stream has other columns than `save_to_table` makes, or a NULL.
        ModelLoadError: it cannot be read.
    """
    what = f"Cannot register model '{name}' from '{source}'"
    try:
        with pa.OSFile(os.fspath(path), "rb") as file, pa.ipc.open_stream(file) as stream:
            schema = {field.name: field.type for field in stream.schema}
            is_model = {field.name: field.type for field in _SCHEMA} == schema and len(stream.schema) == len(schema)
            _check_columns(what, stream.schema.names, is_model)
            for batch in stream:
                columns = [batch.column(column).to_pylist() for column in _COLUMNS]
                for row in zip(*columns, strict=True):
                    yield _piece(what, row)
    except (OSError, pa.ArrowException) as error:
        raise ModelLoadError(what, f"the table's rows cannot be read: {_first_line(error)}") from error


def _check_columns(what: str, names: list[str], is_model: bool) -> None:
    if not is_model:
        raise ModelCorruptError(
            what, f"the table holds no model: its columns are {names}", "sm.save_to_table makes such tables"
        )


def _piece(what: str, row: Iterable[Any]) -> Piece:
    """A row of the table's columns in their order."""
    values = tuple(row)
    if any(value is None for value in values):
        raise ModelCorruptError(what, "the stored model is damaged: a row has a NULL", "save it again")
    path, mode, size, offset, data, sha256, pieces, digest = values
    return Piece(path, mode, size, offset, bytes(data), sha256, pieces, digest)


def _rows(frame: DataFrame, what: str) -> Iterator[Piece]:
    try:
        # the driver holds a partition at a time; Spark would make them of 128 MiB
        partitions = -(-frame.count() // _PIECES_IN_BATCH)
        if partitions > 1:
            frame = frame.repartition(partitions, "path", "offset")
        for row in _stream(frame.select(*_COLUMNS)):
            yield _piece(what, row)
    except ModelCorruptError:
        raise
    except Exception as error:  # classic Spark raises Py4J's own errors too
        raise ModelLoadError(what, f"the table cannot be read: {_first_line(error)}", details=str(error)) from error


def _stream(frame: DataFrame) -> Iterator[Any]:
    """The rows, a partition at a time.

    Spark 4.3 keeps the results of the jobs that a frame's own `toLocalIterator` runs, for good: the driver would have
    all of the model in its heap, once for each reading. The jobs of an RDD belong to no query, and are forgotten.
    """
    is_classic = hasattr(frame, "_jdf")
    return iter(frame.rdd.toLocalIterator() if is_classic else frame.toLocalIterator())


def _write(frame: DataFrame, name: str, mode: str, format: str | None) -> None:
    writer = frame.write.mode(mode)
    (writer.format(format) if format else writer).saveAsTable(name)


def _frame(spark: SparkSession, pieces: Iterator[Piece]) -> DataFrame:
    """All pieces as one frame. The JVM takes them in slabs, so this process holds no more than one."""
    slabs = []
    while slab := list(itertools.islice(_batches(pieces), _BATCHES_IN_SLAB)):
        slabs.append(spark.createDataFrame(pa.Table.from_batches(slab)))
    return functools.reduce(DataFrame.unionAll, slabs)


def _batches(pieces: Iterator[Piece]) -> Iterator[pa.RecordBatch]:
    while batch := list(itertools.islice(pieces, _PIECES_IN_BATCH)):
        rows: list[dict[str, Any]] = [{name: getattr(piece, name) for name in _COLUMNS} for piece in batch]
        yield pa.RecordBatch.from_pylist(rows, _SCHEMA)


def _provider(spark: SparkSession, name: str) -> str | None:
    """The format of a table: Spark would put a table of the session's format in its place."""
    rows = spark.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()
    return next((str(row.data_type) for row in rows if row.col_name == "Provider"), None)


def _quoted(name: str) -> str:
    """The name with each part in backquotes, whatever is in it."""
    return ".".join(part if part[0] == "`" else f"`{part}`" for part in re.findall(_PART, name))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
