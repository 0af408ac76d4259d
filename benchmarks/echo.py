# SPDX-License-Identifier: Apache-2.0
"""A server of the wire with nothing behind it, in a process of its own: what the transport costs by itself."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from sparkmodel.wire.capabilities import issue
from sparkmodel.wire.client import PoolClient
from sparkmodel.wire.directory import Directory, Revision, Served
from sparkmodel.wire.handle import Contract, Handle, PoolRef
from sparkmodel.wire.server import Server

_ANSWER = pa.schema([("prediction", pa.float64())])
_NAME, _TOKEN = "echo", "echo"
Turns = Callable[[], contextlib.AbstractContextManager[Any]]


class _EchoStream:
    """Gives back the first column."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Nothing is held here."""
        return contextlib.nullcontext()

    def predict(self, batch: pa.RecordBatch, turns: Turns) -> pa.RecordBatch:
        with turns():
            return pa.RecordBatch.from_arrays([batch.column(0)], schema=_ANSWER)

    def told(self, *_: Any) -> None:
        """Nobody counts here."""


class _EchoService:
    """Stands where a worker stands, without Ray, a model or pandas."""

    name, token, version = _NAME, _TOKEN, 1
    directory = Directory()

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> tuple[_EchoStream, pa.Schema]:
        return _EchoStream(schema), _ANSWER


def _serve(pipe: Any) -> None:
    service = _EchoService()
    server = Server(service, "127.0.0.1")
    service.directory = _directory(server.endpoint)
    pipe.send(server.endpoint)
    with contextlib.suppress(EOFError):
        pipe.recv()  # until the other side closes it, or dies
    server.close()


def _directory(endpoint: tuple[str, int]) -> Directory:
    return Directory(Revision(1, 1), "ready", 1, (Served(1, (endpoint,)),))


@contextlib.contextmanager
def echo_client() -> Iterator[tuple[PoolClient, Handle]]:
    """A client of such a server, and the handle that it is called with."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    endpoint = ours.recv()
    handle = Handle(
        pool=PoolRef(name=_NAME, pool_id=_NAME, master=endpoint, directory=_directory(endpoint)),
        credential=issue(_TOKEN, _NAME, "benchmark", 86_400),
        contract=Contract(result_type=pa.float64()),
    )
    client = PoolClient(handle.pool, handle.credential)
    try:
        yield client, handle
    finally:
        client.close()
        ours.close()
        process.join(10)
        process.kill()
