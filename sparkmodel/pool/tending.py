# SPDX-License-Identifier: Apache-2.0
"""What a master does by itself from time to time: end what nobody needs, follow the load, judge a canary."""

from __future__ import annotations

import math
import time

from sparkmodel.pool.changes import Changes
from sparkmodel.pool.core import GRACE_S, Core
from sparkmodel.pool.counters import at_once
from sparkmodel.pool.healing import Healer
from sparkmodel.pool.intents import Intent
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.leases import LEASE_S
from sparkmodel.pool.sizes import Autoscaler, Load, bounds

_TRIAL = 20  # batches of a canary before it is judged
_SEE_OFF_S = 0.5
_IDLE_S = 2.0  # a pool without calls for so long gives way to another


class Tending:
    """Looks after one pool.

    Args:
        core: The pool's state.
        healer: Starts what is missing.
        changes: Rolls back a canary.
    """

    def __init__(self, core: Core, healer: Healer, changes: Changes) -> None:
        self._core, self._crew, self._healer, self._changes = core, core.crew, healer, changes
        self._autoscaler, self._scaled = Autoscaler(), 0
        self._expired: set[int] = set()

    def tend(self) -> None:
        """Do all of it once."""
        if self._core.record.primary is None or self._core.stopped.is_set():
            return
        self._retire()
        self._scale()
        self._judge()
        self._forget()

    def see_off(self) -> None:
        """After a change: give callers the time to learn of it, and the old workers that nobody needs the time to go.

        So who changes a pool and then calls it gets what it was changed to. It takes about a second at most.
        """
        core = self._core
        if not core.retired or core.stopped.wait(GRACE_S):
            return
        self._retire()
        deadline = time.monotonic() + _SEE_OFF_S
        with core.lock:
            while self._crew.ending and time.monotonic() < deadline and not core.stopped.is_set():
                core.lock.wait(0.05)

    @property
    def idle_s(self) -> float:
        """How long nobody has called, as far as has been seen."""
        active = self._autoscaler.active_at
        return 0.0 if active is None else self._core.clock() - active

    def give_way(self) -> bool:
        """End workers beyond the least number, if nobody calls; whether there is more room now."""
        core = self._core
        if not core.change.acquire(blocking=False):
            return False
        try:
            if core.record.primary is None or core.stopped.is_set():
                return False
            version, low = core.record.primary, bounds(core.current.spec.options.workers)[0]
            self._scale()  # it may have been called since the last look
            with core.lock:
                if len(self._crew.of(version)) <= low or self.idle_s < _IDLE_S:
                    return False
                leaving = self._shrink(version, low)
            self._crew.end(leaving, core.drain_s)
            return True
        finally:
            core.change.release()

    def forget_keep(self) -> None:
        """After an adoption: old versions without workers have had their time."""
        self._expired |= set(self._core.record.keep) - set(self._crew.versions())

    def _forget(self) -> None:
        core = self._core
        self._crew.ends.forget(self._crew.slots.all)
        if core.condemned.forget(core.record.generations):
            core.publish()

    def _retire(self) -> None:
        core = self._core
        for version in self._crew.versions():
            if version in core.record.serving:
                self._expired.discard(version)
                continue
            looked = core.clock()
            if looked - core.retired.setdefault(version, looked) < GRACE_S:
                continue
            until = math.inf if version in self._expired else core.record.keep.get(version, math.inf)
            is_over = core.now() >= until
            if not is_over:
                leases = at_once(lambda member: member.leases(), self._crew.of(version))
                if any(idle_s < LEASE_S for held in leases for idle_s in held.values()):
                    continue
            self._end(version, looked, is_over)

    def _end(self, version: int, looked: float, is_over: bool) -> None:
        core = self._core
        with core.lock:
            if version in core.record.serving:
                return  # it was brought back meanwhile
            if is_over:
                self._expired.add(version)
                core.assignments.expire(version)
            elif core.touched.get(version, -math.inf) >= looked:
                return  # a query was held to it meanwhile
            core.retired.pop(version, None)
            leaving = self._shrink(version, 0)
            self._crew.wanted.pop(version, None)
        core.end_later(leaving, grace_s=0.0)

    def _scale(self) -> None:
        core, version = self._core, self._core.record.primary
        if version is None:
            return
        options = core.current.spec.options
        if version != self._scaled:
            active, self._autoscaler, self._scaled = self._autoscaler.active_at, Autoscaler(), version
            self._autoscaler.active_at = active
        members = self._crew.of(version)
        load = Load.of(core.clock(), self._crew.counters.read(members))
        with core.lock:
            wanted = self._crew.wanted.get(version, 0)
            count = self._autoscaler.decide(load, wanted, options.workers, options.idle_s, options.max_concurrency)
            low, high = bounds(options.workers)
            if low == high or version != core.record.primary or version in core.paused or count == wanted:
                return
            if count > wanted:
                self._crew.wanted[version] = count
                leaving: list[Member] = []
            else:
                leaving = self._shrink(version, count)
        core.end_later(leaving)
        self._healer.fill()

    def _shrink(self, version: int, count: int) -> list[Member]:
        self._crew.wanted[version] = count
        leaving = self._crew.leave(version, count)
        self._core.publish()
        return leaving

    def _judge(self) -> None:
        core, canary = self._core, self._core.record.canary
        if canary is None or canary.max_error_rate is None:
            return
        counters = self._crew.counters
        counters.read(self._crew.of(canary.version))
        sums = counters.done(canary.version)
        answered = sums["batches"] + sums["errors"]
        if answered < _TRIAL or sums["errors"] / answered <= canary.max_error_rate:
            return
        note = (
            f"{sums['errors']:g} of {answered:g} batches failed, which is more than "
            f"max_error_rate={canary.max_error_rate:g}"
        )
        self._changes.rolled_back(Intent(kind="rollback", by=f"the pool of '{core.name}'"), note)
