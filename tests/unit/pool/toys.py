# SPDX-License-Identifier: Apache-2.0
"""A pool without Ray: workers are plain `Worker`s of this process on real sockets, started by threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sparkmodel.errors import PoolGoneError
from sparkmodel.loaders import Resolved, resolve
from sparkmodel.pool.budget import RestartBudget
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.pool.master import Master
from sparkmodel.pool.worker import Worker
from sparkmodel.schema import Signature
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.handle import CallOptions, Contract, Handle, PoolRef
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.server import Server
from sparkmodel.wire.verdicts import Fate, Verdict
from tests.unit.pool.threads import (
    HOST,
    NAME,
    TOKEN,
    House,
    Killed,
    Leash,
    MemoryStore,
    Shipped,
    ThreadLauncher,
    ThreadMember,
)
from tests.unit.wire.toys import HandleClient, credential_of

Serve = Callable[..., tuple[Worker, HandleClient]]


def eventually(claim: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until a claim holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.002)


def spec_of(
    source: Any,
    *,
    result_type: pa.DataType | None = None,
    signature: Signature | None = None,
    params: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[ModelSpec, Shipped]:
    """The spec and the payload of a live model, as `sparkmodel.register` makes them."""
    from sparkmodel.options import PoolOptions

    resolved = resolve(NAME, source)
    spec = ModelSpec(
        name=NAME,
        source=resolved.source,
        signature=signature or resolved.signature,
        result_type=result_type or pa.float64(),
        options=PoolOptions.of(options),
        params=params,
    )
    return spec, Shipped(resolved.payload)


def client_for(directory: Directory, master: tuple[str, int], spec: ModelSpec) -> HandleClient:
    """A client of its own, with nothing learnt yet."""
    return HandleClient(
        Handle(
            pool=PoolRef(name=NAME, pool_id="pool", master=master, directory=directory),
            credential=credential_of(TOKEN, "pool"),
            contract=Contract(
                result_type=answer_type(spec.result_type, spec.options.on_error),
                inputs=spec.signature.inputs,
                digest=spec.digest,
            ),
            call=CallOptions(limits=Limits.of(spec.options)),
        )
    )


def score(client: HandleClient, values: Sequence[float], timeout_s: float = 30.0) -> list[float]:
    """The predictions for one batch of one column."""
    batch = pa.record_batch({"x": pa.array(values, pa.float64())})
    (answer,) = client.predict([batch], True, timeout_s)
    result: list[float] = answer.to_pylist()
    return result


class Door:
    """The service behind a master's own server: says where the workers are, and settles versions."""

    def __init__(self, pool: RunningPool) -> None:
        self.name, self.token, self.version, self._pool = NAME, TOKEN, 0, pool

    @property
    def directory(self) -> Directory:
        return self._pool.master.directory

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> Any:
        raise PoolGoneError(f"Cannot score with '{NAME}'", "a master does not score")

    def pin(self, query: str, digest: str, deadline: float) -> int:
        return self._pool.master.pin(query, digest, deadline)

    def fate(self, endpoint: tuple[str, int], session: int, seq: int) -> Fate:
        return self._pool.master.fate(endpoint, session, seq)

    def condemn(self, verdict: Verdict) -> None:
        self._pool.master.condemn(verdict)


class RunningPool:
    """A supervised master with its launcher and its door; another one when it was killed."""

    def __init__(self, room: int = 100, budget: RestartBudget | None = None, **master: Any) -> None:
        self.house = House(room)
        self._rest = {"budget": budget, **master}
        self.door: Server | None = None
        self.die_at = ""  # the step at which the master is killed
        self.steps: list[str] = []
        self.is_supervised = not master.pop("by_hand", False)
        self._rest.pop("by_hand", None)
        self._threads: list[threading.Thread] = []
        self._begin()

    def _begin(self) -> None:
        leash = self._leash = Leash()

        def on_step(step: str) -> None:
            leash.check()
            self.steps.append(step)
            if step == self.die_at:
                self.kill_master()
                raise Killed

        self.hands, store = ThreadLauncher(self.house, leash), MemoryStore(self.house, leash)
        self.master = Master(NAME, self.hands, store, on_step=on_step, **self._rest)
        if self.door is not None:
            self.master.door = self.door.endpoint
        self.thread = threading.Thread(target=self.master.run, daemon=True)
        self._threads.append(self.thread)

    def supervise(self) -> None:
        """Let the master look after its workers by itself, if the test does not do it by hand."""
        if self.is_supervised and self.thread.ident is None:
            self.thread.start()

    def kill_master(self) -> None:
        """As kill -9 does: nothing that it does from now on has an effect."""
        self._leash.is_cut = True
        self.die_at = ""

    def next_master_dies(self) -> None:
        """Have another one take over that is killed at a step of that."""
        step = self.die_at
        self.kill_master()
        self.master.stopped.set()
        self._begin()
        self.die_at = step
        with contextlib.suppress(Killed):
            self.master.adopt()
        assert self._leash.is_cut, "there was no such step"

    def next_master(self) -> bool:
        """Have another one take over."""
        if not self._leash.is_cut:
            self.kill_master()
        self.die_at = ""
        self.master.stopped.set()  # only ends its threads
        self._begin()
        adopted = self.master.adopt()
        self.supervise()
        return adopted

    @property
    def directory(self) -> Directory:
        return self.master.directory

    @property
    def serving(self) -> list[ThreadMember]:
        """The members that new queries are sent to."""
        served = self.directory.of(self.directory.version)
        # a living one may have the port of a dead one before it
        return [m for m in self.house.members if served and not m.is_dead and m.endpoint in served.endpoints]

    def of(self, version: int) -> list[ThreadMember]:
        """The members of a version that live."""
        return [member for member in self.house.alive if member.version == version]

    def deploy(self, source: Any, **options: Any) -> int:
        """Serve a whole spec, as `register(replace=True)` does."""
        spec, payload = spec_of(source, **options)
        applied = self.master.apply(Intent(kind="replace", spec=spec), payload)
        self.supervise()
        return applied.version

    def update(self, source: Any, signature: Signature | None = None, **wishes: Any) -> Applied:
        """Another source, as `model.update` does."""
        resolved = resolve(NAME, source)
        payload = Shipped(resolved.payload)
        resolved = Resolved(resolved.source, signature or resolved.signature)
        return self.master.apply(Intent(kind="source", source=resolved, **wishes), payload)

    def change(self, kind: str, **wishes: Any) -> Applied:
        """Any other change."""
        return self.master.apply(Intent(kind=kind, **wishes))

    def rollback(self, to: int | None = None) -> int:
        return self.change("rollback", to=to).version

    def client(self) -> HandleClient:
        if self.door is None:
            self.door = Server(Door(self), HOST)
            self.master.door = self.door.endpoint
        return client_for(self.directory, self.door.endpoint, self.master.current.described)

    def score(self, query: str, value: float = 1.0, digest: str = "", timeout_s: float = 60.0) -> float:
        """The answer to a query, by the steps that a client takes, without the wire."""
        deadline = time.monotonic() + timeout_s
        while True:
            version = self.master.pin(query, digest, deadline)
            options = {"pin": version, "digest": digest or None, "query": query, "binding": "name"}
            batch = pa.record_batch({"x": pa.array([value], pa.float64())})
            served = self.directory.of(version)
            for member in self.house.alive:
                if served and member.endpoint in served.endpoints:
                    stream, _ = member.worker.open(batch.schema, options)
                    with stream.active():
                        answer: float = stream.predict(batch).column(0)[0].as_py()
                    return answer
            assert time.monotonic() < deadline, "no worker of the version is listed"

    def close(self) -> None:
        with contextlib.suppress(Killed):
            self.master.stop()
        self.master.stopped.set()
        self.house.is_over = True
        self.house.notify()
        for thread in self._threads:  # those of masters that were killed among them
            if thread.ident is not None:
                thread.join(120)
        if self.door is not None:
            self.door.close()
        for member in self.house.members:
            member.close(0.0)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Recorder(RestartBudget):
    """A budget whose time stands still; it notes the pauses that it asks for, and lets callers go on at once."""

    def __init__(self, burst: int = 5) -> None:
        super().__init__(burst=burst, clock=Clock())
        self.pauses: list[float] = []

    def take(self) -> float:
        self.pauses.append(super().take())
        return 0.0
