# SPDX-License-Identifier: Apache-2.0
"""A pool without Ray: workers are plain `Worker`s of this process on real sockets, started by threads."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sparkmodel.errors import PoolGoneError, PoolNotPlacedError, PoolNotReadyError, SparkModelError
from sparkmodel.loaders import resolve
from sparkmodel.pool.budget import RestartBudget
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.master import Master
from sparkmodel.pool.worker import Worker
from sparkmodel.schema import Signature
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.handle import CallOptions, Contract, Credential, Handle, Limits, PoolRef
from sparkmodel.wire.server import Server
from sparkmodel.wire.directory import Directory
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
            contract=Contract(result_type=answer_type(spec.result_type, spec.options.on_error)),
            call=CallOptions(limits=Limits.of(spec.options)),
        )
    )


def score(client: HandleClient, values: Sequence[float], timeout_s: float = 30.0) -> list[float]:
    """The predictions for one batch of one column."""
    batch = pa.record_batch({"x": pa.array(values, pa.float64())})
    (answer,) = client.predict([batch], True, timeout_s)
    result: list[float] = answer.to_pylist()
    return result


@dataclasses.dataclass(eq=False)
class Slot:
    """One reservation."""

    bundle: Mapping[str, float]


class ThreadMember:
    """A worker of this process, loading in a thread of its own."""

    def __init__(self, worker: Worker, slot: Slot, payload: Shipped, on_death: Callable[[], None]) -> None:
        self.worker, self.slot, self.version = worker, slot, worker.version
        self.endpoint: tuple[str, int] = ("", 0)
        self.feature_names: tuple[str, ...] | None = None
        self.published: list[Directory] = []
        self.loaded, self.is_dead, self.is_closed = threading.Event(), False, False
        self.error: SparkModelError | None = None
        self._on_death = on_death
        threading.Thread(target=self._load, args=(payload,), daemon=True).start()

    def publish(self, directory: Directory) -> None:
        self.published.append(directory)
        self.worker.publish(directory)

    def stats(self) -> dict[str, Any]:
        return {} if self.is_dead else dataclasses.asdict(self.worker.stats())

    def close(self, drain_s: float) -> None:
        self.worker.close(drain_s)
        self.is_closed = self.is_dead = True

    def kill(self) -> None:
        """What kill -9 looks like from outside: all sockets close, in the middle of a batch or not."""
        self.worker.close(0.0)
        self.is_dead = True
        self._on_death()

    def _load(self, payload: Shipped) -> None:
        try:
            self.endpoint = self.worker.start(payload.data)
            self.feature_names = self.worker.feature_names
            if self.is_dead:  # closed while it was loading
                self.worker.close(0.0)
        except SparkModelError as error:
            self.error = error
        finally:
            self.loaded.set()


class ThreadLauncher:
    """Fulfils `sparkmodel.pool.launcher.Launcher` with threads."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.slots: list[Slot] = []
        self.members: list[ThreadMember] = []
        self._death = threading.Condition()

    @property
    def alive(self) -> list[ThreadMember]:
        """Members that are serving."""
        return [m for m in self.members if m.loaded.is_set() and not m.is_dead and m.error is None]

    def reserve(
        self, count: int, bundle: Mapping[str, float], timeout_s: float, stopped: threading.Event
    ) -> list[Slot]:
        if count > self.room - len(self.slots):
            raise PoolNotPlacedError(f"Cannot place {count} workers", f"there is room for {self.room}")
        fresh = [Slot(bundle) for _ in range(count)]
        self.slots += fresh
        return fresh

    def release(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self.slots.remove(slot)  # raises if a slot is given back twice

    def start(self, spec: ModelSpec, version: int, payload: Shipped, slot: Slot) -> ThreadMember:
        assert slot in self.slots, "a worker was started in a slot that is not reserved"
        worker = Worker(spec, version=version, token=TOKEN, host=HOST)
        member = ThreadMember(worker, slot, payload, self._notify)
        self.members.append(member)
        return member

    def join(self, members: Sequence[Member], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        for member in _threads(members):
            while not member.loaded.wait(0.005):
                if member.is_dead or time.monotonic() > deadline:
                    raise PoolNotReadyError(f"Cannot make model '{NAME}' ready", "a worker died, or was too slow")
            if member.error is not None:
                raise member.error
            if member.is_dead:
                raise PoolNotReadyError(f"Cannot make model '{NAME}' ready", "a worker died while it loaded")

    def progress(self, members: Sequence[Member]) -> int:
        return sum(member.loaded.is_set() for member in _threads(members))

    def wait_dead(self, members: Sequence[Member], timeout_s: float) -> list[Member]:
        with self._death:
            self._death.wait_for(lambda: any(m.is_dead for m in _threads(members)), timeout_s)
        return [member for member in _threads(members) if member.is_dead]

    def _notify(self) -> None:
        with self._death:
            self._death.notify_all()


def _threads(members: Sequence[Member]) -> Iterator[ThreadMember]:
    for member in members:
        assert isinstance(member, ThreadMember)
        yield member


class Door:
    """The service behind a master's own server: says where the workers are, and scores nothing."""

    def __init__(self, master: Master) -> None:
        self.name, self.token, self.version, self._master = NAME, TOKEN, 0, master

    @property
    def directory(self) -> Directory:
        return self._master.directory

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> Any:
        raise PoolGoneError(f"Cannot score with '{NAME}'", "a master does not score")


class RunningPool:
    """A supervised master with its launcher and its door."""

    def __init__(self, room: int = 100, budget: RestartBudget | None = None) -> None:
        self.launcher = ThreadLauncher(room)
        self.master = Master(NAME, self.launcher, budget)
        self.door = Server(Door(self.master), HOST)
        self.thread = threading.Thread(target=self.master.run, daemon=True)
        self.thread.start()

    @property
    def directory(self) -> Directory:
        return self.master.directory

    @property
    def serving(self) -> list[ThreadMember]:
        """The members that callers are sent to."""
        return [m for m in self.launcher.members if m.endpoint in self.directory.endpoints]

    def deploy(self, source: Any, **options: Any) -> int:
        spec, payload = spec_of(source, **options)
        return self.master.deploy(spec, payload)

    def client(self) -> HandleClient:
        return client_for(self.directory, self.door.endpoint, self.master.current.spec)

    def close(self) -> None:
        self.master.stop()
        self.thread.join(120)
        self.door.close()
        for member in self.launcher.members:
            member.close(0.0)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

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
