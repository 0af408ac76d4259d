# SPDX-License-Identifier: Apache-2.0
"""The bridge's client of pools in one JVM, against servers in this process."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.wire import protocol as p
from sparkmodel.wire.handle import Handle
from tests.bridge import Jvm
from tests.unit.wire.toys import handle_of, numbers

_TIMES = ("silence_s", "gone_s", "doubt_s", "stalled_s")


@pytest.fixture(scope="session")
def jvm() -> Iterator[Jvm]:
    """A JVM with the bridge in it, for all tests of the run."""
    machine = Jvm("io.sparkmodel.wire.ClientMain")
    yield machine
    machine.close()


def text_of(handle: Handle) -> str:
    """The handle as the JVM finds it: in the midst of other bytes."""
    return base64.b64encode(b"\x80\x05junk" + handle.to_text().encode() + b"more \xff junk").decode()


@dataclasses.dataclass(frozen=True)
class Collected:
    """An answer and the counters of its ticket."""

    values: list[Any]
    parts: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Client:
    """A PoolClient in the JVM, called through a handle; through that which it was made of by default."""

    jvm: Jvm
    number: int
    handle: str | None = None

    def submitted(self, *values: float, rows: int | None = None, **more: Any) -> Future[Any]:
        """Begin to send a batch of doubles; the future's result is the ticket."""
        return self.jvm.start("submit", **self.batch(numbers(*values), rows), **more)

    def submit(self, *values: float, **more: Any) -> int:
        """Send a batch of doubles; returns its ticket."""
        return int(self.submitted(*values, **more).result(60))

    def batch(self, batch: pa.RecordBatch, rows: int | None = None) -> dict[str, Any]:
        """The arguments that send a batch."""
        return {
            "client": self.number,
            **({} if self.handle is None else {"handle": self.handle}),
            "schema": p.schema_to_text(batch.schema),
            "message": base64.b64encode(p.batch_to_buffer(batch)).decode(),
            "rows": batch.num_rows if rows is None else rows,
        }

    def collect(self, ticket: int, **more: Any) -> Collected:
        """The predictions of a batch."""
        parts = self.jvm.call("collect", ticket=ticket, **more)
        schema = p.schema_from_text(parts["schema"], "test")
        batch = p.batch_from_buffer(base64.b64decode(parts["payload"]), schema, "test")
        return Collected(batch.column(0).to_pylist(), parts)

    def score(self, *values: float, **more: Any) -> list[Any]:
        """The predictions of one batch."""
        return self.collect(self.submit(*values, **more)).values

    def is_ready(self, ticket: int) -> bool:
        return bool(self.jvm.call("is_ready", ticket=ticket))

    def release(self, ticket: int) -> None:
        self.jvm.call("release", ticket=ticket)

    @property
    def open_connections(self) -> int:
        return int(self.jvm.call("open_connections", client=self.number))

    def close(self) -> None:
        self.jvm.call("close", client=self.number)


@pytest.fixture
def pool(jvm: Jvm) -> Iterator[Callable[..., Client]]:
    """`pool(*servers, master=None, **handle)` is a client in the JVM whose handle lists the servers.

    `silence_s`, `gone_s`, `doubt_s` and `stalled_s` shorten the client's own limits.
    """
    made: list[Client] = []

    def pool_(*servers: Any, master: Any = None, **options: Any) -> Client:
        limits = {key: options.pop(key) for key in _TIMES if key in options}
        options.setdefault("pool_id", f"pool-{id(made)}-{len(made)}")
        handle = handle_of(*servers, master=master, **options)
        made.append(Client(jvm, jvm.call("client", handle=text_of(handle), **limits)))
        return made[-1]

    yield pool_
    for client in made:
        client.close()
