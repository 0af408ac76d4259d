# SPDX-License-Identifier: Apache-2.0
"""Calls of models over the wire, from the event loop."""

from __future__ import annotations

import asyncio
import time
import uuid

import pyarrow as pa

from sparkmodel.registration.calls import for_call
from sparkmodel.rest.asked import Asked, Scored, Served
from sparkmodel.wire.client import client_of

_BATCH_ROWS = 10_000


async def score(served: Served, asked: Asked, *, timeout_s: float | None = None, hedge: bool = False) -> Scored:
    """The predictions for the rows of a request.

    Args:
        served: The model.
        asked: The rows.
        timeout_s: Seconds until the caller's deadline; None is the pool's `timeout_s`.
        hedge: Whether it may go to a second worker too.

    Raises:
        SparkModelError: with the condition that says why.
    """
    return await asyncio.to_thread(_score, served, asked, timeout_s)


def _score(served: Served, asked: Asked, timeout_s: float | None) -> Scored:
    started = time.monotonic()
    caller = for_call(served.handle, served.spec, asked.params).calling(source="rest")
    table, by_name = asked.table, asked.by_name
    if not by_name and (names := caller.contract.names_of(table.schema)):
        table, by_name = table.rename_columns(list(names)), True
    if table.num_rows > _BATCH_ROWS:
        caller = caller.calling(query=f"rest:{uuid.uuid4().hex}")
    client = client_of(caller)
    limit_s = client.limits(caller).timeout_s if timeout_s is None else timeout_s
    batches = table.combine_chunks().to_batches(_BATCH_ROWS)
    chunks = list(client.predict(batches, by_name, caller=caller, timeout_s=limit_s))
    values = pa.chunked_array(chunks, caller.contract.result_type)
    return Scored(values=values, version=served.version, transfer_s=time.monotonic() - started)
