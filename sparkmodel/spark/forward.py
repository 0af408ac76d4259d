# SPDX-License-Identifier: Apache-2.0
"""What runs in Spark's Python worker: turn the arguments of the function into record batches and forward them.

It imports nothing but pyarrow and the wire; the model, pandas, Ray and MLflow live in the pool's workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from sparkmodel.errors import UnsupportedTypeError
from sparkmodel.schema import is_ml_vector, is_variant
from sparkmodel.wire.client import client_of
from sparkmodel.wire.handle import Handle

CALL_MARKER = "sparkmodel.call.v1"  # near the start of the command of a function of ours; a handle's text follows
_MONTHS = 21  # Arrow's number of the type of intervals of months, which is all that is said of it
_JOIN_ROWS = 10_000  # as spark.sql.execution.arrow.maxRecordsPerBatch
_JOIN_BYTES = 1 << 23
_STREAM = "stream:"


class Forward:
    """The function behind the scalar-iterator `arrow_udf` of a model.

    It pickles as a short text with a mark in front, which is how the JVM bridge knows it: a function of somebody else
    that has a handle, or even this, somewhere in its closure does not begin with it.
    """

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.__name__ = handle.name
        # PySpark reads the kind of the UDF from its hints, and does not look at __call__
        self.__annotations__ = {"arguments": Iterator[pa.Array], "return": Iterator[pa.Array]}

    def __repr__(self) -> str:
        return f"Forward({self.handle!r})"

    def __call__(self, arguments: Iterator[pa.Array]) -> Iterator[pa.Array]:
        batches = _Batches(arguments, self.handle)
        first = next(batches, None)
        if first is None:
            return
        caller = _in_session(self.handle)
        joined = join_small(batches.after(first))
        client, timeout_s = client_of(caller), caller.call.timeout_s
        yield from client.predict(joined, batches.by_name, caller=caller, timeout_s=timeout_s, partition=_partition())

    def __reduce__(self) -> tuple[Any, ...]:
        return Forward.from_text, (CALL_MARKER + self.handle.to_text(),)

    @staticmethod
    def from_text(text: str) -> Forward:
        """The function that was pickled."""
        return Forward(Handle.from_text(text.removeprefix(CALL_MARKER)))


def _in_session(handle: Handle) -> Handle:
    """The handle in the query that runs: what is held to one version, and settings of its session.

    The session may not be the one that registered the handle.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        return handle
    zone = context.getLocalProperty("spark.sql.session.timeZone") or handle.call.time_zone
    case_sensitive = context.getLocalProperty("spark.sql.caseSensitive") == "true"
    query = query_of(context, handle.call.app)
    return handle.calling(time_zone=zone, case_sensitive=case_sensitive, query=query, source=source_of(query, handle))


def _partition() -> int | None:
    """The number of the part that this task has; None outside of tasks."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return None if context is None else context.partitionId()


def query_of(context: Any, app: str) -> str:
    """What a task is a part of, by a name that is the same in its retries, in its copies, and in the JVM's tasks.

    Args:
        context: The task's `TaskContext`.
        app: The Spark application's id, without which queries of two applications would be taken for one.

    Returns:
        A micro-batch of a stream, else a query, else a stage; empty where the application is not known.
    """
    stream, batch = (context.getLocalProperty(key) for key in ("sql.streaming.queryId", "streaming.sql.batchId"))
    if stream and batch:
        return f"{_STREAM}{stream}:{batch}"
    if not app:
        return ""
    keys = ("spark.sql.execution.root.id", "spark.sql.execution.id")
    execution = next(filter(None, map(context.getLocalProperty, keys)), None)
    return f"query:{app}:{execution}" if execution else f"stage:{app}:{context.stageId()}"


def source_of(query: str, handle: Handle) -> str:
    """Who calls, for the pool's figures: a stream, else what the function was made for, else a batch query."""
    return "stream" if query.startswith(_STREAM) else handle.call.source or "batch"


class _Batches:
    """The arguments of each Arrow batch as a record batch.

    PySpark gives a bare array for one argument and a tuple for several. Names are the call's, or the fields' where the
    one argument is a struct, or those of the inputs that the arguments stand for by their position; others are
    numbered.

    Args:
        arguments: What PySpark gives.
        handle: The function's.
    """

    def __init__(self, arguments: Iterator[Any], handle: Handle) -> None:
        self._arguments, self._contract = iter(arguments), handle.contract
        self._names, self.by_name = list(handle.call.names), handle.call.by_name
        self._what = f"Cannot score with '{handle.name}'"

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        given = _readable(self._arguments, self._what)
        if not self._names and isinstance(given, pa.StructArray) and not _is_value(given.type):
            self.by_name = True
            return pa.RecordBatch.from_struct_array(given)
        arrays = list(given) if isinstance(given, tuple) else [given]
        batch = pa.RecordBatch.from_arrays(arrays, self._names or [str(i) for i in range(len(arrays))])
        if not self.by_name and (names := self._contract.names_of(batch.schema)):
            self._names, self.by_name = list(names), True
            batch = batch.rename_columns(self._names)
        return batch

    def after(self, first: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """All batches, the first of which was looked at already."""
        yield first
        yield from self


def _readable(arguments: Iterator[Any], what: str) -> Any:
    """The next arguments, in types that Arrow has in Python."""
    try:
        return next(arguments)
    except KeyError as error:
        if error.args != (_MONTHS,):
            raise
        raise UnsupportedTypeError(
            what,
            "an argument is INTERVAL YEAR TO MONTH, and Arrow has no such type in Python",
            "pass EXTRACT(YEAR FROM x) and EXTRACT(MONTH FROM x)",
        ) from error


def _is_value(type_: pa.DataType) -> bool:
    """Whether a struct is one value, not a row of named columns."""
    return is_ml_vector(type_) or is_variant(type_)


def join_small(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join batches up to about 10,000 rows or 8 MiB.

    Spark 4.3 hands on the 4,096 rows of its Parquet reader as they are, and a model pays for each call. All batches of
    a task come anyway, so waiting for the next one delays nothing but the first answer.
    """
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += pa.ipc.get_record_batch_size(batch)
        if rows >= _JOIN_ROWS or size >= _JOIN_BYTES:
            yield _concat(held)
            held, rows, size = [], 0, 0
    if held:
        yield _concat(held)


def _concat(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
