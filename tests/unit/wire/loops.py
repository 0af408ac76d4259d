# SPDX-License-Identifier: Apache-2.0
"""Calls of pools from event loops, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pyarrow as pa
import uvloop

from sparkmodel.wire.aio import AioClient, Answered
from sparkmodel.wire.tickets import Call
from tests.unit.wire.toys import HandleClient, numbers

LOOPS: dict[str, Callable[[Coroutine[Any, Any, Any]], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@contextlib.asynccontextmanager
async def wire(threads: int = 64) -> AsyncIterator[AioClient]:
    """A client, all of whose threads have ended at the end."""
    yield AioClient(threads)
    await becomes(lambda: not any(thread.name == "sparkmodel-call" for thread in threading.enumerate()), "no thread")


async def ask(
    wire: AioClient,
    pool: HandleClient,
    *values: float,
    timeout_s: float | None = 60.0,
    batch: pa.RecordBatch | None = None,
    hedge: bool = False,
    **call: Any,
) -> Answered:
    """The answer to one batch."""
    handle = call.pop("handle", pool.handle)
    return await wire.predict(pool, Call(handle, False, timeout_s, **call), batch or numbers(*values), hedge=hedge)


async def score(wire: AioClient, pool: HandleClient, *values: float, **call: Any) -> list[Any]:
    """The predictions for one batch."""
    return list((await ask(wire, pool, *values, **call)).values.to_pylist())


async def becomes(claim: Callable[[], bool], what: str) -> None:
    """Poll until the claim holds."""
    for _ in range(30_000):
        if claim():
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"waited in vain: {what}")
