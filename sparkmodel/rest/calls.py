# SPDX-License-Identifier: Apache-2.0
"""Calls of models over the wire, from the event loop."""

from __future__ import annotations

import time
import uuid

import pyarrow as pa

from sparkmodel.registration.calls import for_call
from sparkmodel.rest.asked import Asked, Scored, Served
from sparkmodel.wire.aio import AioClient, Answered
from sparkmodel.wire.client import client_of
from sparkmodel.wire.payloads import PIECE_BYTES
from sparkmodel.wire.tickets import Call

_BATCH_ROWS = 10_000


class Caller:
    """Calls the models of one gateway, from its event loop."""

    def __init__(self) -> None:
        self._wire = AioClient()

    async def score(
        self, served: Served, asked: Asked, *, timeout_s: float | None = None, hedge: bool = False
    ) -> Scored:
        """The predictions for the rows of a request.

        Args:
            served: The model.
            asked: The rows.
            timeout_s: Seconds until the caller's deadline; None is the pool's `timeout_s`.
            hedge: Whether it may go to a second worker too.

        Raises:
            VersionRetiredError: the version that was asked for has no workers any more.
            SparkModelError: with the condition that says why.
        """
        started = time.monotonic()
        caller = served.caller
        if asked.params:
            caller = for_call(caller, served.spec, asked.params)
        table, by_name = asked.table, asked.by_name
        if not by_name and (names := caller.contract.names_of(table.schema)):
            table, by_name = table.rename_columns(list(names)), True
        is_long = table.num_rows > _BATCH_ROWS or table.get_total_buffer_size() > PIECE_BYTES
        if is_long and asked.version is None:  # more than one message, by one version
            caller = caller.calling(query=f"rest:{uuid.uuid4().hex}")
        client = client_of(caller)
        limit_s = client.limits(caller).timeout_s if timeout_s is None else timeout_s
        call = Call(caller, by_name, limit_s, version=asked.version, is_held=asked.version is not None)
        call.until = started + limit_s
        chunks: list[pa.Array] = []
        answered: Answered | None = None
        if is_long:
            batches = table.combine_chunks().to_batches(_BATCH_ROWS)
            chunks = await self._wire.predict_all(client, call, batches)
        elif table.num_rows:
            (batch,) = table.combine_chunks().to_batches()
            answered = await self._wire.predict(client, call, batch, hedge=hedge)
            call, chunks = answered.call, [answered.values]
        taken_s = time.monotonic() - started
        queue_s, predict_s = call.queue_us / 1e6, call.predict_us / 1e6
        return Scored(
            values=pa.chunked_array(chunks, caller.contract.result_type),
            version=call.answering or asked.version or served.version,
            queue_s=queue_s,
            predict_s=predict_s,
            transfer_s=max(0.0, taken_s - queue_s - predict_s),
            retries=call.lost,
            hedged=answered is not None and answered.hedged,
        )
