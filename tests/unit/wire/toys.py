# SPDX-License-Identifier: Apache-2.0
"""A small service whose model the test controls, and a client that says exactly what a test wants on the wire."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pyarrow as pa

from sparkmodel.errors import PoolGoneError, WrongVersionError
from sparkmodel.wire import proofs
from sparkmodel.wire import protocol as p
from sparkmodel.wire.client import PoolClient
from sparkmodel.wire.directory import Directory, Endpoint, Revision, Served
from sparkmodel.wire.greeting import Step, introduction, reception, to_text
from sparkmodel.wire.handle import CallOptions, Contract, Credential, Handle, PoolRef
from sparkmodel.wire.limits import Limits

RESULT = pa.schema([pa.field("prediction", pa.float64())])
WAIT_S = 120.0  # how long a test waits for what must happen; long, for a loaded machine


def wait_until(claim: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
    """Poll until the claim holds.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.002)


def numbers(*values: float) -> pa.RecordBatch:
    """A batch of one column of doubles."""
    return pa.record_batch({"0": pa.array(values, pa.float64())})


def double(batch: pa.RecordBatch) -> pa.Array:
    """Twice the first column."""
    return pa.array([None if value is None else value * 2 for value in batch.column(0).to_pylist()], pa.float64())


def listing(
    number: int, endpoints: Iterable[Endpoint] = (), state: str = "ready", version: int = 1, **parts: Any
) -> Directory:
    """The directory of a pool that serves one version, unless `served` lists others."""
    served = parts.pop("served", (Served(version, tuple(endpoints)),))
    return Directory(Revision(1, number), state, version, served, **parts)


def credential_of(token: str = "secret", pool_id: str = "toy", tls: str | None = None) -> Credential:
    """What lets into a pool with a secret: the same each time, and good for long."""
    claims = proofs.Claims(pool=pool_id, app="app-1", id="id-1", exp=4_102_444_800).to_text()
    return Credential(claims=claims, key=to_text(proofs.key_of(token, claims)), tls=tls)


def greet(sock: socket.socket, token: str = "secret") -> None:
    """A server's side of a greeting, up to the client's proof."""
    drive(sock, reception(token, "test"))


def drive(sock: socket.socket, steps: Generator[Step, bytes, Any]) -> None:
    """Go through a greeting over a socket that blocks."""
    said, size = next(steps)
    with contextlib.suppress(StopIteration):
        while True:
            sock.sendall(said)
            said, size = steps.send(p.receive_exactly(sock, size))


def handle_of(*servers: Any, master: Any = None, **parts: Any) -> Handle:
    """A handle whose directory lists the servers by version; the first answers as the master, unless another does."""
    by_version: dict[int, list[Endpoint]] = {}
    for server in servers:
        by_version.setdefault(getattr(getattr(server, "service", None), "version", 1), []).append(server.endpoint)
    served = tuple(Served(version, tuple(endpoints)) for version, endpoints in by_version.items())
    given: dict[str, Any] = {
        "name": "toy",
        "pool_id": "toy",
        "master": parts.pop("master_endpoint", None) or (master or servers[0]).endpoint,
        "directory": listing(1, version=max(by_version, default=1), served=served),
        "result_type": pa.float64(),
        **parts,
    }
    shown = credential_of(given.pop("token", "secret"), given["pool_id"], given.get("tls"))
    given = {**dataclasses.asdict(shown), **given}

    def take(kind: Any) -> Any:
        return kind(**{f.name: given.pop(f.name) for f in dataclasses.fields(kind) if f.name in given})

    whole, on_error = given.pop("limits", None), given.pop("on_error", None)  # a call's own, not the pool's
    pool, credential, contract, limits = (take(kind) for kind in (PoolRef, Credential, Contract, Limits))
    limits, given["on_error"] = whole or limits, on_error
    return Handle(pool=pool, credential=credential, contract=contract, call=CallOptions(limits=limits, **given))


class HandleClient(PoolClient):
    """A client of its own that calls through one handle, unless a call names another."""

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle.pool, handle.credential)
        self.handle = handle

    def predict(
        self,
        batches: Iterable[pa.RecordBatch],
        by_name: bool,
        timeout_s: float | None = None,
        caller: Handle | None = None,
    ) -> Iterator[pa.Array]:
        return super().predict(batches, by_name, caller=caller or self.handle, timeout_s=timeout_s)


class ToyService:
    """A `Service` without a pool behind it.

    Attributes:
        predict: The model; a test may replace it at any time.
        accepts: The digests that it accepts; empty for all.
        seen: The first value of each batch that reached the model, in order.
        opened: The options of each opened stream.
        versions: As a master: the version of each query.
        asked: As a master: the query and the digest of each request for a version.
        on_pin: As a master: called for each, may raise; `deadline` is its argument.
    """

    def __init__(self, name: str = "toy", token: str = "secret", version: int = 1) -> None:
        self.name, self.token, self.version = name, token, version
        self.directory = listing(1, version=version)
        self.accepts: tuple[str, ...] = ()
        self.versions: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.on_pin: Callable[[float], None] = lambda deadline: None
        self.predict: Callable[[pa.RecordBatch], pa.Array] = double
        self.on_open: Callable[[], None] = lambda: None
        self.seen: list[Any] = []
        self.opened: list[dict[str, Any]] = []
        self._free = threading.Event()
        self._free.set()

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> tuple[ToyStream, pa.Schema]:
        """A stream over this service's model."""
        self.on_open()
        self.opened.append(options)
        is_ours = options.get("pin") in (None, self.version)
        if not is_ours or (self.accepts and options.get("digest", "") not in ("", *self.accepts)):
            raise WrongVersionError(f"Cannot score with '{self.name}'", f"this worker serves {self.version}")
        return ToyStream(self, schema), RESULT

    def pin(self, query: str, digest: str, deadline: float) -> int:
        """What it serves, or what the query was held to before."""
        self.asked.append((query, digest))
        self.on_pin(deadline)
        return self.versions.setdefault(query, self.directory.version) if query else self.directory.version

    def hold(self) -> None:
        """Let no batch out of the model until `release`."""
        self._free.clear()

    def release(self) -> None:
        """Let all batches go on."""
        self._free.set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold within the block."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    def score(self, batch: pa.RecordBatch) -> pa.Array:
        """What the stream calls."""
        self.seen.append(batch.column(0)[0].as_py() if batch.num_rows else None)
        self._free.wait()
        return self.predict(batch)


class ToyWorker(ToyService):
    """A service that is no master."""

    def pin(self, query: str, digest: str, deadline: float) -> int:
        """Refused."""
        raise PoolGoneError(f"Cannot score with '{self.name}'", "a worker settles no version")


class ToyStream:
    """One stream of a `ToyService`."""

    def __init__(self, service: ToyService, schema: pa.Schema) -> None:
        self.schema, self._service = schema, service

    def predict(
        self, batch: pa.RecordBatch, turns: Callable[[], contextlib.AbstractContextManager[Any]]
    ) -> pa.RecordBatch:
        """The model's answer."""
        with turns():
            return pa.RecordBatch.from_arrays([self._service.score(batch)], schema=RESULT)

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Nobody asks what it is busy with."""
        return contextlib.nullcontext()

    def told(self, batch: pa.RecordBatch, result: Any, condition: str, queue_s: float, predict_s: float) -> None:
        """Nobody counts."""


class RawClient:
    """One connection, step by step, with nothing done behind the test's back."""

    def __init__(
        self, endpoint: tuple[str, int], receive_bytes: int | None = None, family: int = socket.AF_INET
    ) -> None:
        self.sock = socket.socket(family)
        self.sock.settimeout(WAIT_S)
        if receive_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.connect(endpoint)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def say(self, *parts: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(b"".join(parts))

    def request(self, type_: int, seq: int, payload: Any, budget_ms: int = 0) -> None:
        """Send one frame."""
        self.say(*(bytes(part) for part in p.pack_request(type_, seq, payload, budget_ms)))

    def hello(self, token: str = "secret") -> dict[str, Any]:
        """Greet, prove who it is, and return the worker's greeting."""
        drive(self.sock, introduction(credential_of(token), "toy", "the worker", "test"))
        return self.info()

    def open(self, schema: pa.Schema | None = None, pin: int | None = None, **options: Any) -> dict[str, Any]:
        """Open a stream and return the worker's reply."""
        self.ask_open(schema, pin, **options)
        return self.info()

    def ask_open(self, schema: pa.Schema | None = None, pin: int | None = None, **options: Any) -> None:
        """Ask for a stream."""
        text = p.schema_to_text(schema or numbers().schema)
        self.request(p.OPEN, 0, p.to_json({"schema": text, "binding": "position", "pin": pin, **options}))

    def pin(self, query: str, digest: str = "", budget_ms: int = 0) -> dict[str, Any]:
        """Ask for a query's version and return the master's reply."""
        self.request(p.PIN, 0, p.to_json({"query": query, "digest": digest}), budget_ms)
        return self.info()

    def batch(self, seq: int, *values: float, budget_ms: int = 0) -> None:
        """Send a batch of one column of doubles."""
        self.request(p.BATCH, seq, p.batch_to_buffer(numbers(*values)), budget_ms)

    def answer(self, alive: bool = False) -> p.Answer:
        """The next answer; keepalive frames are passed over unless they are asked for."""
        while True:
            answer = p.read_answer(self.sock, "test")
            if alive or answer.status != p.ALIVE:
                return answer

    def info(self) -> dict[str, Any]:
        """The JSON of an info answer."""
        answer = self.answer()
        assert answer.status == p.INFO, (answer.status, bytes(answer.payload))
        return p.from_json(answer.payload, "test")

    def values(self, seq: int) -> list[Any]:
        """The predictions of batch `seq`, whose answer must come next."""
        answer = self.answer()
        assert (answer.status, answer.seq) == (p.OK, seq), bytes(answer.payload)
        return list(p.batch_from_buffer(answer.payload, RESULT, "test").column(0).to_pylist())

    def condition(self, status: int = p.ERROR, seq: int | None = None) -> str:
        """The condition in the next answer, which must have the given status and, if given, number."""
        answer = self.answer()
        assert answer.status == status, (answer.status, bytes(answer.payload))
        assert seq is None or answer.seq == seq
        return str(p.from_json(answer.payload, "test")["condition"])

    def is_closed(self) -> bool:
        """Whether the worker hangs up; waits for it. A byte that still comes says that it does not."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True
