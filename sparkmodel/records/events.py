# SPDX-License-Identifier: Apache-2.0
"""What is recorded of one call: by a worker of each batch, by a gateway of each request."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import orjson
import pyarrow as pa

SAMPLE_ROWS = 10
SAMPLE_BYTES = 1 << 16
OK = "ok"
DROPPED = "DROPPED"
_NUL = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")  # the one character that PostgreSQL has no text for
_OWN_BYTES = 600  # of one event without its sample, about

SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("version", pa.int32()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("caller", pa.string()),
        pa.field("request_id", pa.string()),
        pa.field("query", pa.string()),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64()),
        pa.field("queue_s", pa.float64()),
        pa.field("predict_s", pa.float64()),
        pa.field("transfer_s", pa.float64()),
        pa.field("call_s", pa.float64()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("worker", pa.string()),
        pa.field("inputs", pa.string()),
        pa.field("outputs", pa.string()),
    ]
)
COLUMNS = tuple(SCHEMA.names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """One row of the record; what is not known is None.

    Attributes:
        at: When it was answered, in seconds since 1970.
        model: Name of the model; empty for what the recorder says of itself.
        version: Number of what answered.
        source: `batch`, `stream`, `sql`, `rest` or `python`; `record` for what the recorder says of itself.
        caller: Name of the token that was shown.
        request_id: Of the request.
        query: What the batch is a part of.
        rows: Of the call; or how many events are missing, where the outcome is `DROPPED`.
        bytes: Of its columns.
        queue_s: Seconds that it waited in workers, or in the gateway for them.
        predict_s: Seconds in the model.
        transfer_s: Seconds between gateway and workers.
        call_s: Seconds from the request to its answer.
        outcome: `ok` or the condition of the error.
        worker: Who writes, `host:port/pid`.
        inputs: The first rows that were asked, of a sampled call.
        outputs: What was answered for them.
    """

    at: float
    model: str
    version: int | None = None
    source: str = ""
    caller: str | None = None
    request_id: str | None = None
    query: str | None = None
    rows: int = 0
    bytes: int | None = None
    queue_s: float | None = None
    predict_s: float | None = None
    transfer_s: float | None = None
    call_s: float | None = None
    outcome: str = OK
    worker: str | None = None
    inputs: pa.Table | None = dataclasses.field(default=None, repr=False)
    outputs: pa.Table | None = dataclasses.field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Bytes that it holds, about."""
        samples = (part for part in (self.inputs, self.outputs) if part is not None)
        return _OWN_BYTES + sum(int(part.nbytes) for part in samples)

    def row(self) -> tuple[Any, ...]:
        """Its values in the order of `COLUMNS`: the time as whole microseconds, samples as JSON."""
        plain = [getattr(self, name) for name in COLUMNS[1:-2]]
        texts = [value.replace("\0", "") if isinstance(value, str) else value for value in plain]
        return (round(self.at * 1e6), *texts, _json(self.inputs), _json(self.outputs))


def head(rows: pa.Table | pa.RecordBatch | None) -> pa.Table | None:
    """A copy of the first rows, few enough to be kept while they wait; None where one row is too long."""
    if rows is None or not rows.num_rows:
        return None
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    taken = min(SAMPLE_ROWS, table.num_rows, int(SAMPLE_BYTES * table.num_rows / max(1, table.nbytes)))
    return table.take(pa.array(range(taken))) if taken else None  # a slice would hold all of the batch


def table_of(events: list[Event]) -> pa.Table:
    """The events as columns of `SCHEMA`."""
    columns = zip(*(event.row() for event in events), strict=True)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _json(sample: pa.Table | None) -> str | None:
    """The rows in MLflow's form `dataframe_split`, which can be sent to the model again; NaN is null in JSON."""
    if sample is None:
        return None
    columns = [column.to_pylist() for column in sample.columns]
    form = {"columns": sample.column_names, "data": [list(row) for row in zip(*columns, strict=True)]}
    return _NUL.sub(r"\1", orjson.dumps(form, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode())


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
