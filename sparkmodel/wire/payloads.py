# SPDX-License-Identifier: Apache-2.0
"""A record batch as the messages in which it crosses the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from sparkmodel.wire import protocol as p

PIECE_BYTES = 1 << 26


def payloads(batch: pa.RecordBatch) -> Iterator[tuple[pa.Buffer, int]]:
    """The batch as a message with its rows; a large one in slices of about 64 MiB."""
    payload = p.batch_to_buffer(batch)
    count = min(-(-len(payload) // PIECE_BYTES), batch.num_rows)
    if count <= 1:
        yield payload, batch.num_rows
        return
    rows = -(-batch.num_rows // count)
    for start in range(0, batch.num_rows, rows):
        piece = batch.slice(start, rows)
        yield p.batch_to_buffer(piece), piece.num_rows
