# SPDX-License-Identifier: Apache-2.0
"""Workers of several versions, and what their callers are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sparkmodel.wire.directory import Directory, Served
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import HandleClient, ToyWorker, handle_of, listing, numbers

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]


def answering(version: int) -> ToyWorker:
    """A worker whose predictions are its version."""
    toy = ToyWorker(version=version)
    toy.predict = lambda batch: pa.array([float(version)] * len(batch))
    return toy


def said(client: HandleClient, batches: int = 1, query: str = "", digest: str = "") -> list[float]:
    """Which version answered each batch of one call."""
    handle = handle_of(
        pool_id=client.handle.pool.pool_id,
        master_endpoint=client.handle.pool.master,
        directory=client.handle.pool.directory,
        query=query,
        digest=digest,
    )
    arrays = client.predict([numbers(1)] * batches, False, caller=handle)
    return [value for array in arrays for value in array.to_pylist()]


def spread(*servers: Server, weights: tuple[float, ...], number: int = 1, **parts: Any) -> Directory:
    """A directory with one worker for each version, 1, 2, and so on."""
    entries = (
        Served(version, (server.endpoint,), weight)
        for version, (server, weight) in enumerate(zip(servers, weights, strict=True), 1)
    )
    return listing(number, version=1, served=tuple(entries), **parts)
