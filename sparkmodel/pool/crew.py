# SPDX-License-Identifier: Apache-2.0
"""The workers of a pool by version: those that serve, those that load, those that end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sparkmodel.errors import PoolGoneError
from sparkmodel.pool.counters import Counters, at_once
from sparkmodel.pool.ends import End, Ends
from sparkmodel.pool.generations import Generation
from sparkmodel.pool.judge import LOST, SILENT
from sparkmodel.pool.launcher import Launcher, Member
from sparkmodel.pool.slots import Slots
from sparkmodel.wire.directory import Endpoint


def _ignore(step: str) -> None:
    """For who does not care how far it is."""


class Crew:
    """Starts and ends workers. Who serves is read and changed under `lock`.

    Args:
        name: The model's name.
        launcher: Places and starts workers.
        lock: Of the pool.
        stopped: Set when the pool is dropped.
    """

    def __init__(self, name: str, launcher: Launcher, lock: threading.Condition, stopped: threading.Event) -> None:
        self.slots, self.counters, self.stopped, self.lock = Slots(launcher), Counters(), stopped, lock
        self.wanted: dict[int, int] = {}  # how many of a version there should be now
        self.vacant: dict[int, list[Any]] = {}  # slots whose worker died, for the next one
        self.lost: list[Member] = []  # of hosts that nothing is heard of; they are ended if they come back
        self.ends = Ends()
        self.loading: list[Member] = []
        self.ending: list[Member] = []
        self._name, self._launcher = name, launcher
        self._serving: dict[int, list[Member]] = {}

    def of(self, version: int) -> list[Member]:
        """Those of a version that serve."""
        with self.lock:
            return list(self._serving.get(version, ()))

    def listed(self, version: int) -> list[Member]:
        """Those of them that callers are sent to."""
        return [member for member in self.of(version) if member.state not in (SILENT, LOST)]

    def at(self, endpoint: Endpoint) -> Member | None:
        """The one that serves there, or finishes what it has."""
        with self.lock:
            members = [*self.all(), *self.ending, *self.lost]
        return next((member for member in members if member.endpoint == endpoint), None)

    def all(self) -> list[Member]:
        """Those that serve."""
        with self.lock:
            return [member for members in self._serving.values() for member in members]

    def versions(self) -> list[int]:
        """Versions that have workers, or had some that are to be replaced."""
        with self.lock:
            return sorted({v for v, members in self._serving.items() if members} | set(self.wanted))

    def check_alive(self) -> None:
        """Raise if the pool was dropped.

        Raises:
            PoolGoneError: it was.
        """
        if self.stopped.is_set():
            raise PoolGoneError(f"Cannot change model '{self._name}'", "its pool was dropped")

    def hire(
        self,
        generation: Generation,
        count: int,
        timeout_s: float,
        slots: Sequence[Any] = (),
        step: Callable[[str], None] = _ignore,
    ) -> list[Member]:
        """Start workers and wait until they serve: all of them, or none is left. `admit` lets callers know of them.

        Args:
            generation: What they serve.
            count: How many.
            timeout_s: For all that it takes.
            slots: That the caller has for them; if it fails, the caller still has them.
            step: Called when they are `reserved`, `started`, `loaded`; what it raises ends it.
        """
        deadline = time.monotonic() + timeout_s
        version, bundle = generation.version, generation.spec.options.bundle
        members: list[Member] = []
        own: list[Any] = []
        try:
            own = self.slots.take(version, bundle, count - len(slots), timeout_s, self.stopped)
            step("reserved")
            for slot in [*slots, *own][:count]:
                member = self._launcher.start(generation.spec, version, generation.payload, slot)
                members.append(member)
                with self.lock:
                    self.loading.append(member)
            self.check_alive()  # else a `stop` that came before they were noted would wait for them
            step("started")
            self._launcher.join(members, max(0.0, deadline - time.monotonic()))
            step("loaded")
            return members
        except BaseException:
            self.dismiss(version, members, own)
            self.check_alive()  # if it was dropped meanwhile, that is why
            raise

    def dismiss(self, version: int, members: Sequence[Member], slots: Sequence[Any]) -> None:
        """End workers that nobody knows of."""
        at_once(lambda member: member.close(0.0), members)
        with self.lock:
            self.loading = [member for member in self.loading if member not in members]
        self.slots.give_back(version, slots)

    def admit(self, members: Sequence[Member]) -> None:
        """Count workers in, under the lock, before they are published.

        Raises:
            PoolGoneError: the pool was dropped meanwhile; they have to be dismissed.
        """
        with self.lock:
            self.check_alive()
            self.loading = [member for member in self.loading if member not in members]
            for member in members:
                self._serving.setdefault(member.version, []).append(member)

    def adopt(self, generation: Generation, member: Member) -> None:
        """Count in a worker that another master has started."""
        self.slots.keep(member.version, member.slot, generation.spec.options.bundle)
        self.admit([member])

    def lose(self, member: Member, end: End) -> bool:
        """Count out a worker that has died; False if it was not counted in. Its slot waits for the next.

        One that is lost may come back, and its slot is of no use.
        """
        is_lost = member.state == LOST and member.ended() is None
        with self.lock:
            if member not in self._serving.get(member.version, ()):
                return False
            self._serving[member.version].remove(member)
            if is_lost:
                self.lost.append(member)
            else:
                self.vacant.setdefault(member.version, []).append(member.slot)
            self.ends.add(member, end)
        self.counters.end([member], end)
        if is_lost:
            self.slots.give_back(member.version, [member.slot])
        return True

    def found(self) -> list[Member]:
        """Those of a lost host that is heard of again; they are not lost any more, and have their successors.

        Those that have ended, such as with their host, are forgotten.
        """
        with self.lock:
            lost = list(self.lost)
        gone = self._launcher.wait_dead(lost, 0.0) if lost else []
        found = [member for member in lost if member.state != LOST and member not in gone]
        with self.lock:
            self.lost = [member for member in self.lost if member not in found and member not in gone]
            self.ending += found
        return found

    def release_vacant(self) -> None:
        """Give back the slots of dead workers that get no successor."""
        with self.lock:
            surplus = {
                version: slots[max(0, self.wanted.get(version, 0) - len(self._serving.get(version, ()))) :]
                for version, slots in self.vacant.items()
            }
            for version, slots in surplus.items():
                self.vacant[version] = self.vacant[version][: len(self.vacant[version]) - len(slots)]
        for version, slots in surplus.items():
            self.slots.give_back(version, slots)

    def leave(self, version: int, count: int) -> list[Member]:
        """Count out the newest workers of a version but for so many, under the lock; they are to be ended."""
        with self.lock:
            members = self._serving.get(version, [])
            self._serving[version], out = members[:count], members[count:]
            self.ending += out
            return out

    def end(self, members: Sequence[Member], drain_s: float) -> None:
        """End workers that were counted out: they finish what they have; their slots are given back."""
        self.counters.read(members)
        self._close(members, drain_s)
        self.counters.end(members)
        for member in members:
            self.ends.add(member, member.ended() or End())
        with self.lock:
            self.ending = [member for member in self.ending if member not in members]
            self.lock.notify_all()
        for member in members:
            self.slots.give_back(member.version, [member.slot])

    def stop(self) -> None:
        """End all of them, and give all slots back."""
        with self.lock:
            members = [*self.all(), *self.loading, *self.ending, *self.lost]  # the last hear of it when they are back
            self.lost = []
            self._serving, self.loading, self.ending, self.wanted = {}, [], [], {}
        self.counters.read(members)
        self._close(members, 0.0)
        self.counters.end(members)
        self.slots.close()

    def _close(self, members: Sequence[Member], drain_s: float) -> None:
        self.counters.note(members, at_once(lambda member: member.close(drain_s), members))
