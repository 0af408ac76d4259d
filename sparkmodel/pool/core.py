# SPDX-License-Identifier: Apache-2.0
"""What the parts of a master share: what is decided, who serves, and what callers are told."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence

from sparkmodel.errors import PoolNotReadyError, VersionRetiredError
from sparkmodel.pool.condemned import Condemned
from sparkmodel.pool.counters import at_once
from sparkmodel.pool.crew import Crew
from sparkmodel.pool.generations import Generation
from sparkmodel.pool.launcher import Launcher, Member, Store
from sparkmodel.pool.leases import Assignments
from sparkmodel.pool.record import Ledger, Record
from sparkmodel.pool.sizes import bounds
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory, Endpoint, Revision, Served
from sparkmodel.wire.limits import Limits

_log = logging.getLogger(__name__)
GRACE_S = 0.5  # callers of an old version learn the new endpoints from its answers before it stops


class Core:
    """The state of one pool.

    Args:
        name: The model's name.
        launcher: Places and starts workers.
        store: Keeps the record.
        clock: Gives the time in seconds.
        now: Gives the time in seconds since 1970.
        on_step: Called at each named step of a change.

    Attributes:
        record: What is decided; what is in force is durable.
        change: Held by who changes the pool: one change at a time.
        lock: Guards who serves and what is published; nobody waits for others while holding it.
        retired: When callers were sent away from an old version that has workers.
        paused: Versions whose workers must not be started now.
        door: Where the master itself is reached.
    """

    def __init__(
        self,
        name: str,
        launcher: Launcher,
        store: Store,
        clock: Callable[[], float],
        now: Callable[[], float],
        on_step: Callable[[str], None],
    ) -> None:
        self.name, self.launcher, self.clock, self.now, self.step = name, launcher, clock, now, on_step
        self.stopped = threading.Event()
        self.change = threading.Lock()
        self.lock = threading.Condition(threading.RLock())
        self.crew = Crew(name, launcher, self.lock, self.stopped)
        self.condemned = Condemned(now)
        self.ledger = Ledger(store, self.crew.counters.ended, lambda: self.condemned.all)
        self.record = Record()
        self.assignments = Assignments(clock)
        self.retired: dict[int, float] = {}
        self.touched: dict[int, float] = {}  # when a query was last held to a version
        self.paused: set[int] = set()
        self.directory = Directory()
        self.door: Endpoint | None = None

    @property
    def current(self) -> Generation:
        """What new queries get.

        Raises:
            PoolNotReadyError: there is no version yet.
        """
        current = self.record.current
        if current is None:
            raise PoolNotReadyError(f"Cannot use model '{self.name}'", "no version of it is loaded yet", "wait for it")
        return current

    @property
    def next_revision(self) -> Revision:
        """Of the next directory."""
        return Revision(self.record.incarnation, self.directory.revision.number + 1)

    def least(self, version: int) -> int:
        """How many workers a version must have at all times."""
        record = self.record
        if record.canary is not None and version == record.canary.version:
            return record.canary.workers
        return bounds(self.current.spec.options.workers)[0] if version == record.primary else 0

    def choose(self, query: str, digest: str) -> int:
        """The version for a query that has none.

        Raises:
            VersionRetiredError: none that can be started goes with the plan.
        """
        record = self.record
        canary = record.canary
        candidates = list(record.serving)
        if query and canary is not None and share_of(query, canary.version) < canary.traffic:
            candidates.reverse()
        candidates += sorted(set(record.generations) - set(candidates), reverse=True)
        for version in candidates:
            if record.generations[version].takes(digest):
                return version
        raise VersionRetiredError(
            f"Cannot score with '{self.name}'",
            "the query was planned for inputs or an output that no version that can be started has any more",
            "run the query anew from the beginning",
        )

    def retire(self, version: int) -> None:
        """An old version gets no new queries from now on; its workers stay until nobody needs them."""
        self.crew.wanted.pop(version, None)
        self.retired[version] = self.clock()

    def publish(self, leaving: Sequence[Member] = ()) -> None:
        """Tell all workers, those that leave too, where the versions are served now. Under the lock."""
        with self.lock:
            self.directory = self._directory()
            for member in (*self.crew.all(), *self.crew.ending, *leaving):
                member.publish(self.directory)
            self.lock.notify_all()

    def _directory(self) -> Directory:
        record, current = self.record, self.record.current
        canary = record.canary
        wanted = self.crew.wanted
        served = []
        for version in dict.fromkeys((*record.serving, *sorted(self.crew.versions(), reverse=True))):
            members = self.crew.of(version)
            if version not in record.generations or not (members or version in record.serving):
                continue
            weight = 0.0
            if version == record.primary:
                weight = 1.0 - (canary.traffic if canary else 0.0)
            elif canary is not None and version == canary.version:
                weight = canary.traffic
            endpoints = tuple(member.endpoint for member in self.crew.listed(version))
            served.append(Served(version, endpoints, weight, record.generations[version].accepts))
        if self.stopped.is_set():
            state, served = "stopped", []
        elif record.primary is not None and all(
            len(self.crew.listed(version)) >= wanted.get(version, 0) for version in record.serving
        ):
            state = "ready" if self.crew.of(record.primary) else "cold"
        else:
            state = "healing"
        return Directory(
            revision=self.next_revision,
            state=state,
            version=record.primary or 0,
            served=tuple(served),
            master=self.door,
            limits=None if current is None else Limits.of(current.spec.options),
            condemned=self.condemned.of(record.generations),
        )

    def configure(self, members: Sequence[Member], spec: ModelSpec) -> None:
        """Push limits. A worker that does not take them is dead or stuck, and its successor starts with them."""

        def push(member: Member) -> None:
            try:
                member.configure(spec)
            except Exception:
                _log.warning("a worker of '%s' did not take its limits", self.name, exc_info=True)

        at_once(push, members)

    def end_later(self, members: Sequence[Member], grace_s: float = GRACE_S) -> None:
        """End workers that were counted out, when their callers have had time to learn where to go instead."""
        if members:
            threading.Thread(target=self._end, args=(members, grace_s), name="sparkmodel-drain", daemon=True).start()

    def _end(self, members: Sequence[Member], grace_s: float) -> None:
        self.stopped.wait(grace_s)
        self.step("draining")
        self.crew.end(members, self.drain_s)
        self.step("retired")
        self.note()

    def note(self) -> None:
        """Write what nothing hangs on: history, and counters of ended workers."""
        try:
            self.ledger.note(self.record.entries)
        except Exception:  # it is written with the next change
            _log.warning("the history of '%s' was not written", self.name, exc_info=True)

    @property
    def drain_s(self) -> float:
        """How long batches may take to finish in a worker that ends."""
        current = self.record.current
        return 0.0 if current is None or self.stopped.is_set() else current.spec.options.timeout_s


def share_of(query: str, version: int) -> float:
    """Where a query stands between 0 and 1, anew for each canary: the same whoever asks, and evenly spread."""
    return int.from_bytes(hashlib.sha256(f"{version}|{query}".encode()).digest()[:8], "big") / 2**64
