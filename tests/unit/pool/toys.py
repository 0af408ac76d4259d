# SPDX-License-Identifier: Apache-2.0
"""A pool without Ray: workers are plain `Worker`s of this process on real sockets, started by threads."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sparkmodel.errors import PoolGoneError, PoolNotPlacedError, PoolNotReadyError, SparkModelError
from sparkmodel.loaders import Resolved, resolve
from sparkmodel.pool.budget import RestartBudget
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.master import Master
from sparkmodel.pool.worker import Worker
from sparkmodel.schema import Signature
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.handle import CallOptions, Contract, Credential, Handle, PoolRef
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import HandleClient

NAME, TOKEN, HOST = "toy", "secret", "127.0.0.1"

Serve = Callable[..., tuple[Worker, HandleClient]]


def eventually(claim: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until a claim holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.002)


@dataclasses.dataclass
class Shipped:
    """The bytes of a model, as an object that can be watched being forgotten."""

    data: bytes | None


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
            credential=Credential(token=TOKEN),
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


class Killed(SystemExit):
    """The master's process was killed: a thread of it that goes on ends in silence."""


class Leash:
    """What ties a master to the world, until it is killed."""

    def __init__(self) -> None:
        self.is_cut = False

    def check(self) -> None:
        """What the dead do has no effect."""
        if self.is_cut:
            raise Killed


@dataclasses.dataclass(eq=False)
class Slot:
    """One reservation."""

    bundle: Mapping[str, float]


class ThreadMember:
    """A worker of this process, loading in a thread of its own. It outlives its master."""

    def __init__(self, worker: Worker, slot: Slot, payload: Shipped | None, on_death: Callable[[], None]) -> None:
        self.worker, self.slot, self.version = worker, slot, worker.version
        self.endpoint: tuple[str, int] = ("", 0)
        self.feature_names: tuple[str, ...] | None = None
        self.published: list[Directory] = []
        self.configured: list[ModelSpec] = []
        self.extra: dict[str, Any] = {}  # counters that a test wants to be seen
        self.loaded, self.is_dead, self.is_closed = threading.Event(), False, False
        self.error: SparkModelError | None = None
        self._on_death = on_death
        threading.Thread(target=self._load, args=(payload,), daemon=True).start()

    def publish(self, directory: Directory) -> None:
        self.published.append(directory)
        self.worker.publish(directory)

    def configure(self, spec: ModelSpec) -> None:
        self.configured.append(spec)
        self.worker.configure(spec)

    def hold(self, query: str) -> bool:
        return not self.is_dead and self.worker.hold(query)

    def leases(self) -> dict[str, float]:
        return {} if self.is_dead else self.worker.leases()

    def stats(self) -> dict[str, Any]:
        return {} if self.is_dead else {**dataclasses.asdict(self.worker.stats()), **self.extra}

    def close(self, drain_s: float) -> dict[str, Any]:
        self.worker.close(drain_s)
        self.is_closed = self.is_dead = True
        return dataclasses.asdict(self.worker.stats())

    def kill(self) -> None:
        """What kill -9 looks like from outside: all sockets close, in the middle of a batch or not."""
        self.worker.close(0.0)
        self.is_dead = True
        self._on_death()

    @property
    def serves(self) -> bool:
        """Whether it has loaded, and lives."""
        return self.loaded.is_set() and not self.is_dead and self.error is None

    def _load(self, payload: Shipped | None) -> None:
        try:
            self.endpoint = self.worker.start(None if payload is None else payload.data)
            self.feature_names = self.worker.feature_names
            if self.is_dead:  # closed while it was loading
                self.worker.close(0.0)
        except SparkModelError as error:
            self.error = error
        finally:
            self.loaded.set()


class Grip:
    """A member as one master has it: of no use to a dead one."""

    def __init__(self, member: ThreadMember, leash: Leash) -> None:
        self.member, self._leash = member, leash

    def __getattr__(self, name: str) -> Any:
        self._leash.check()
        return getattr(self.member, name)


class House:
    """What is left when a master dies: slots, workers, what was shipped."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.slots: list[Slot] = []
        self.members: list[ThreadMember] = []
        self.shipped: dict[str, Shipped] = {}
        self.records: list[bytes] = []
        self.starts: Callable[[int], None] = lambda version: None  # a test may have a start fail
        self.death = threading.Condition()
        self.keys = 0

    @property
    def alive(self) -> list[ThreadMember]:
        """Members that are serving."""
        return [member for member in self.members if member.serves]

    def notify(self) -> None:
        """A member has died."""
        with self.death:
            self.death.notify_all()


class MemoryStore:
    """Fulfils `sparkmodel.pool.launcher.Store`."""

    def __init__(self, house: House, leash: Leash) -> None:
        self._house, self._leash = house, leash

    def save(self, record: bytes) -> None:
        self._leash.check()
        self._house.records.append(record)

    def load(self) -> bytes | None:
        return self._house.records[-1] if self._house.records else None


class ThreadLauncher:
    """Fulfils `sparkmodel.pool.launcher.Launcher` with threads."""

    def __init__(self, house: House, leash: Leash) -> None:
        self.house, self._leash = house, leash

    def reserve(
        self, count: int, bundle: Mapping[str, float], timeout_s: float, stopped: threading.Event
    ) -> list[Slot]:
        self._leash.check()
        if count > self.house.room - len(self.house.slots):
            raise PoolNotPlacedError(f"Cannot place {count} workers", f"there is room for {self.house.room}")
        fresh = [Slot(bundle) for _ in range(count)]
        self.house.slots += fresh
        return fresh

    def release(self, slots: Sequence[Slot]) -> None:
        self._leash.check()
        for slot in slots:
            self.house.slots.remove(slot)  # raises if a slot is given back twice

    def keep(self, payload: Shipped) -> str:
        self._leash.check()
        self.house.keys += 1
        self.house.shipped[f"shipped-{self.house.keys}"] = payload
        return f"shipped-{self.house.keys}"

    def forget(self, key: str) -> None:
        self._leash.check()
        del self.house.shipped[key]  # raises if it is forgotten twice

    def start(self, spec: ModelSpec, version: int, payload: str, slot: Slot) -> Grip:
        self._leash.check()
        assert slot in self.house.slots, "a worker was started in a slot that is not reserved"
        lodgers = [member for member in self.house.members if member.slot is slot and not member.is_dead]
        assert version not in {member.version for member in lodgers}, "two workers of a version are in one slot"
        self.house.starts(version)
        worker = Worker(spec, version=version, token=TOKEN, host=HOST)
        shipped = self.house.shipped[payload] if payload else None
        member = ThreadMember(worker, slot, shipped, self.house.notify)
        self.house.members.append(member)
        return Grip(member, self._leash)

    def join(self, members: Sequence[Member], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        for member in _threads(members):
            while not member.loaded.wait(0.005):
                self._leash.check()
                if member.is_dead or time.monotonic() > deadline:
                    raise PoolNotReadyError(f"Cannot make model '{NAME}' ready", "a worker died, or was too slow")
            if member.error is not None:
                raise member.error
            if member.is_dead:
                raise PoolNotReadyError(f"Cannot make model '{NAME}' ready", "a worker died while it loaded")
        self._leash.check()

    def progress(self, members: Sequence[Member]) -> int:
        return sum(member.loaded.is_set() for member in _threads(members))

    def wait_dead(self, members: Sequence[Member], timeout_s: float) -> list[Member]:
        self._leash.check()
        with self.house.death:
            self.house.death.wait_for(lambda: any(m.is_dead for m in _threads(members)), timeout_s)
        self._leash.check()
        return [member for member, thread in zip(members, _threads(members), strict=True) if thread.is_dead]

    def adopt(self) -> list[Member]:
        found: list[Member] = []
        for member in reversed(self.house.members):  # there is no order in which they are found
            if member.serves:
                found.append(Grip(member, self._leash))
            elif not member.loaded.is_set():
                member.close(0.0)
        return found

    def sweep(self, slots: Sequence[Slot]) -> None:
        self._leash.check()
        self.house.slots = [slot for slot in self.house.slots if slot in slots]


def _threads(members: Sequence[Member]) -> Iterator[ThreadMember]:
    for member in members:
        assert isinstance(member, Grip)
        yield member.member


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
        return [m for m in self.house.members if served and m.endpoint in served.endpoints]

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
        if self.thread.ident is not None:
            self.thread.join(120)
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
