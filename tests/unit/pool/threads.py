# SPDX-License-Identifier: Apache-2.0
"""Workers in threads of this process, and the launcher that starts them: they outlive a master that is killed."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sparkmodel.errors import PoolNotPlacedError, PoolNotReadyError, SparkModelError
from sparkmodel.pool.ends import End
from sparkmodel.pool.judge import READY
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.worker import Worker
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.verdicts import Fate

NAME, TOKEN, HOST = "toy", "secret", "127.0.0.1"


@dataclasses.dataclass
class Shipped:
    """The bytes of a model, as an object that can be watched being forgotten."""

    data: bytes | None


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
        self.state = READY
        self.end: End | None = None  # what is told of it when it has died
        self.fates: dict[tuple[int, int], Fate] = {}
        self._on_death = on_death
        threading.Thread(target=self._load, args=(payload,), daemon=True).start()

    def fate(self, session: int, seq: int) -> Fate:
        return self.fates.get((session, seq), Fate())

    def ended(self) -> End | None:
        return self.end if self.is_dead else None

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

    def kill(self, end: End | None = None) -> None:
        """What kill -9 looks like from outside: all sockets close, in the middle of a batch or not."""
        self.end = end
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
        self.is_over = False  # the test has ended: nobody waits for a death any more
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
            self.house.death.wait_for(
                lambda: self.house.is_over or any(m.is_dead for m in _threads(members)), timeout_s
            )
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
