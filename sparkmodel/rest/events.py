# SPDX-License-Identifier: Apache-2.0
"""Answers to large bodies as server-sent events: predictions come as they are made, in the order of the rows."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sparkmodel.errors import SparkModelError, TooManyRequestsError
from sparkmodel.rest import problems
from sparkmodel.rest.admission import Ticket
from sparkmodel.rest.asked import Asked, Context, Scored, Served
from sparkmodel.rest.gateway import Gateway

CHUNK_ROWS = 10_000
HEARTBEAT_S = 5.0
_BUSY_S, _AGAIN_S = 30.0, 0.05  # so long a stream that has begun waits for room, and looks for it so often

Encode = Callable[[pa.Array], Any]


def wants_events(request: Request) -> bool:
    """Whether the caller accepts events."""
    kinds = request.headers.get("accept", "").lower().split(",")
    return any(kind.partition(";")[0].strip() == "text/event-stream" for kind in kinds)


async def answer_events(
    gateway: Gateway, request: Request, context: Context, served: Served, asked: Asked, encode: Encode
) -> Response:
    """An answer of events: `predictions` for each 10,000 rows, then `end`, or `error` with the protocol's body of it.

    The first rows are scored before it begins, if that does not take long: what is wrong with a request from the
    start is then an error as without events. All rows are scored by the version that scored the first ones.

    Args:
        gateway: That of the route.
        request: It has its place until the stream ends.
        context: Of the request; it is told of when the stream ends.
        served: The model.
        asked: All rows.
        encode: JSON-ready value of the predictions for some rows; it is called in another thread.

    Raises:
        SparkModelError: the first rows could not be scored.
    """
    stream = _Stream(gateway, context, served, asked, encode)
    await stream.begin()
    context.streaming = True
    stream.ticket = request.state.ticket.keep()  # which it gives back at its end
    return _Events(stream, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


class _Events(StreamingResponse):
    """Ends the work of its stream, and tells of it, also if it is never read."""

    media_type = "text/event-stream"

    def __init__(self, stream: _Stream, headers: dict[str, str]) -> None:
        super().__init__(stream.events(), headers=headers)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.end()


class _Stream:
    """The chunks of one request, scored one after the other.

    Attributes:
        ticket: Of the request, if it is to be given back when this ends.
    """

    ticket: Ticket | None = None

    def __init__(self, gateway: Gateway, context: Context, served: Served, asked: Asked, encode: Encode) -> None:
        self._gateway, self._context, self._served = gateway, context, served
        self._asked, self._encode = asked, encode
        self._scored: list[Scored] = []
        self._chunks = self._next_chunks()
        self._task: asyncio.Task[bytes] | None = None

    async def begin(self) -> None:
        """Score the first rows, but begin to answer if that takes longer than a heartbeat."""
        self._task = asyncio.ensure_future(self._chunk(0))
        try:
            await asyncio.wait({self._task}, timeout=HEARTBEAT_S)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if self._task.done():
            self._task.result()

    async def events(self) -> AsyncIterator[bytes]:
        """The text of the events."""
        rows = self._asked.table.num_rows
        try:
            for start in self._chunks:
                if self._task is None:
                    self._task = asyncio.ensure_future(self._chunk(start))
                while not (await asyncio.wait({self._task}, timeout=HEARTBEAT_S))[0]:
                    yield b": still at it\n\n"
                event = self._task.result()
                self._task = None
                yield event
        except SparkModelError as error:
            self._context.condition = error.condition
            told = problems.without_values(error)
            self._leave()
            yield _event("error", problems.body_of(self._context.protocol, told, self._context.request_id))
            return
        self._leave()
        yield _event("end", {"rows": rows, "model_name": self._served.name, "model_version": str(self._version)})

    def end(self) -> None:
        """Stop what is under way, and tell of the request."""
        self._leave()
        if self._task is not None:
            self._task.cancel()
        context = self._context
        context.asked = self._asked
        context.rows = self._asked.table.num_rows
        if self._scored:
            context.scored = _together(self._scored)
        self._gateway.tell(context)

    def _leave(self) -> None:
        """Give back the request's place, before its last event: who has read that may ask again."""
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            ticket.leave()

    @property
    def _version(self) -> int:
        return self._scored[0].version

    def _next_chunks(self) -> range:
        return range(0, max(self._asked.table.num_rows, 1), CHUNK_ROWS)

    async def _chunk(self, start: int) -> bytes:
        """The event with the predictions for the rows from `start` on."""
        version = self._scored[0].version if self._scored else self._asked.version
        asked = dataclasses.replace(self._asked, table=self._asked.table.slice(start, CHUNK_ROWS), version=version)
        scored = await self._score(asked)
        self._scored.append(scored)
        values = scored.values
        array = pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, values.type)
        return await asyncio.to_thread(lambda: _event("predictions", self._encode(array), start))

    async def _score(self, asked: Asked) -> Scored:
        """Score; a stream that has begun waits while the model's queue is full."""
        until = time.monotonic() + _BUSY_S
        while True:
            with contextlib.suppress(TooManyRequestsError):
                return await self._gateway.score(self._context, self._served, asked)
            if not self._scored or time.monotonic() > until:
                return await self._gateway.score(self._context, self._served, asked)
            await asyncio.sleep(_AGAIN_S)


def _event(kind: str, value: Any, number: int | None = None) -> bytes:
    id_ = b"" if number is None else b"id: %d\n" % number
    data = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)  # it has no line ends
    return b"event: %s\n%sdata: %s\n\n" % (kind.encode(), id_, data)


def _together(scored: list[Scored]) -> Scored:
    first = scored[0]
    return dataclasses.replace(
        first,
        values=pa.chunked_array([chunk for one in scored for chunk in one.values.chunks], first.values.type),
        queue_s=sum(one.queue_s for one in scored),
        predict_s=sum(one.predict_s for one in scored),
        transfer_s=sum(one.transfer_s for one in scored),
        wait_s=sum(one.wait_s for one in scored),
        retries=sum(one.retries for one in scored),
        hedged=any(one.hedged for one in scored),
    )
