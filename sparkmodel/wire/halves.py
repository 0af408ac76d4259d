# SPDX-License-Identifier: Apache-2.0
"""A batch cut in two, and its answers put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from sparkmodel.errors import SparkModelError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.messages import storage_of
from sparkmodel.wire.tickets import Call


def halves(payload: pa.Buffer, schema: pa.Schema, what: str) -> Iterator[tuple[pa.Buffer, int]]:
    """The two halves of a batch of more than one row, as messages with their rows."""
    batch = p.batch_from_buffer(payload, storage_of(schema), what)
    middle = batch.num_rows // 2
    for piece in (batch.slice(0, middle), batch.slice(middle)):
        yield p.batch_to_buffer(piece), piece.num_rows


def fault(call: Call, error: SparkModelError, on_error: str) -> pa.Array:
    """The answer for one row that cannot be scored: NULL, or a struct that says why."""
    type_ = call.result_type or call.handle.contract.result_type
    if on_error != "struct":
        return pa.nulls(1, type_)
    return pa.array([{"prediction": None, "error": error.message, "version": call.version}], type_)


def joined(parts: Sequence[pa.Array]) -> pa.Array:
    """The answers of all parts, in order; one that was known without a call has the type of those that were not."""
    type_ = parts[-1].type
    return pa.concat_arrays([part if part.type == type_ else part.cast(type_) for part in parts])
