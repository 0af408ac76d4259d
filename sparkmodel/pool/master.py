# SPDX-License-Identifier: Apache-2.0
"""The master as a plain class: what is asked of a pool, and what is told about it.

It is never on a batch's way. What it tells callers is a `Directory`: the endpoints of each version's workers. It may
die at any time: workers go on, and the next master adopts them.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from sparkmodel.pool import history
from sparkmodel.pool.adoption import take_over
from sparkmodel.pool.budget import RestartBudget
from sparkmodel.pool.changes import Changes
from sparkmodel.pool.core import Core
from sparkmodel.pool.counters import at_once
from sparkmodel.pool.ends import End
from sparkmodel.pool.generations import Generation
from sparkmodel.pool.healing import Healer
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.pool.launcher import Launcher, Store
from sparkmodel.pool.pins import Pins
from sparkmodel.pool.tending import Tending
from sparkmodel.scoring.tally import summarize
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory, Endpoint
from sparkmodel.wire.verdicts import Fate, Verdict

_log = logging.getLogger(__name__)
_TEND_S = 1.0


class Master:
    """Supervises the workers of one model.

    Args:
        name: The model's name.
        launcher: Places and starts workers.
        store: Keeps what the next master must know.
        budget: How soon dead workers are replaced; None is a budget for each slot and cause.
        clock: Gives the time in seconds.
        on_step: Called at each named step of a change: `reserved`, `started`, `loaded`, `recorded` (from here on it
            is done, come what may), `published`, `draining`, `retired`; `scaling`, `scaled` for another size;
            `adopting`, `adopted`.
        now: Gives the time in seconds since 1970.
    """

    def __init__(
        self,
        name: str,
        launcher: Launcher,
        store: Store,
        budget: RestartBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_step: Callable[[str], None] = lambda step: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._store, self._launcher = store, launcher
        self._core = Core(name, launcher, store, clock, now, on_step)
        self._healer = Healer(self._core, budget)
        self._changes = Changes(self._core, self._healer)
        self._pins = Pins(self._core, self._healer)
        self._tending = Tending(self._core, self._healer, self._changes)
        self.stopped = self._core.stopped

    def __repr__(self) -> str:
        return f"Master({self.name!r}, {self.directory})"

    # --- what it tells ---

    @property
    def directory(self) -> Directory:
        """Where the versions are served now."""
        return self._core.directory

    @property
    def current(self) -> Generation:
        """What new queries get.

        Raises:
            PoolNotReadyError: the first version is still loading.
        """
        return self._core.current

    @property
    def serving(self) -> ModelSpec | None:
        """What new queries get, None before the first version."""
        current = self._core.record.current
        return None if current is None else current.spec

    @property
    def seen(self) -> tuple[str, str]:
        """A name that is followed, and what it was last seen to mean."""
        return self._core.record.seen

    @property
    def restarts(self) -> int:
        """Workers that died."""
        return self._core.crew.counters.restarts

    @property
    def idle_s(self) -> float:
        """Seconds for which nobody has called."""
        return self._tending.idle_s

    @property
    def door(self) -> Endpoint | None:
        """Where the master itself is reached; set by its owner before it opens or adopts."""
        return self._core.door

    @door.setter
    def door(self, endpoint: Endpoint | None) -> None:
        self._core.door = endpoint

    def status(self) -> dict[str, Any]:
        """Where a change is: phase, workers that serve, workers asked for."""
        with self._core.lock:
            loading = list(self._core.crew.loading)
        return {
            "phase": self._changes.openings.phase,
            "ready": self._launcher.progress(loading),
            "workers": len(loading),
        }

    def stats(self) -> dict[str, Any]:
        """Counters of the pool, those of ended workers included, and of each worker."""
        crew = self._core.crew
        members = crew.all()
        crew.counters.read(list(crew.ending))  # they still finish what they have
        workers, sums = crew.counters.shown(members)
        for member, worker in zip(members, workers, strict=True):
            worker["state"], worker["last_end"] = member.state, _told(crew.ends.of(member.slot))
            worker["node"] = member.endpoint[0]
        directory, summary = self.directory, summarize(workers)
        figures = crew.counters.figures()
        for version, weight in [(one.version, one.weight) for one in directory.served]:
            figures.setdefault(version, {})["weight"] = weight
        failing = max(self._healer.failing.values(), key=lambda one: one.since, default=None)
        if failing is not None:  # it keeps the pool from being whole, now
            summary["last_error"] = {
                "time": failing.since,
                "message": str(failing.error),
                "details": getattr(failing.error, "details", ""),
            }
        return {
            "name": self.name,
            "version": directory.version,
            "state": directory.state,
            "restarts": self.restarts,
            "restart_error": None if failing is None else str(failing.error),
            "restart_since": None if failing is None else failing.since,
            "restart_attempts": 0 if failing is None else failing.attempts,
            "last_end": _told(crew.ends.latest),
            "idle_s": self.idle_s,
            **sums,
            "queued": sum(worker["queued"] for worker in workers),
            **summary,
            "workers": workers,
            "figures": figures,
        }

    def versions(self) -> list[dict[str, Any]]:
        """What served when, whose wish it was, and what each version has done; the oldest first."""
        return history.told(self._core)

    # --- what is asked of it ---

    def open(self, spec: ModelSpec, payload: Any = None, intent: Intent | None = None) -> Applied:
        """Serve the first version."""
        return self.apply(intent or Intent(kind="replace", spec=spec), payload)

    def adopt(self) -> bool:
        """Take over what a dead master has left; False, and nothing is left, if its pool never served."""
        adopted = take_over(self._core, self._store.load())
        if adopted:
            self._changes.openings.phase = "ready"
            self._tending.forget_keep()
            self._healer.fill()
        return adopted

    def apply(self, intent: Intent, payload: Any = None) -> Applied:
        """Do what somebody wants; blocks. The same intent again is what it led to.

        Raises:
            ControlTimeoutError: its time had passed; it is not done.
            RevisionChangedError: the pool is not what it was made for.
            PoolGoneError: the pool was dropped.
            SparkModelError: it cannot be done; the pool is as it was.
        """
        applied = self._changes.apply(intent, payload)
        self._tending.see_off()
        return applied

    def outcome(self, intent_id: str) -> Applied | None:
        """What an intent has led to, waiting for one that is under way; None for one that was not done."""
        return self._changes.turns.outcome(intent_id)

    def cancel(self, intent_id: str) -> None:
        """Who asked has gone: an intent that is not recorded yet is undone."""
        self._changes.turns.cancel(intent_id)

    def pin(self, query: str, digest: str = "", deadline: float = math.inf) -> int:
        """The version of a query, with workers; see `Pins.pin`."""
        return self._pins.pin(query, digest, deadline)

    def fate(self, endpoint: Endpoint, session: int, seq: int) -> Fate:
        """What became of a batch whose worker was lost; see `Service.fate`."""
        crew = self._core.crew
        member = crew.at(endpoint)  # first: one that is counted out between the two has its end then
        end = crew.ends.at(endpoint)
        if end is not None:
            return end.fate_of(session, seq)
        return Fate() if member is None else member.fate(session, seq)

    def condemn(self, verdict: Verdict) -> None:
        """Have all callers know of a batch that ends its workers."""
        core = self._core
        if verdict.version in core.record.generations and core.condemned.add(verdict):
            core.publish()
            core.note()

    def give_way(self) -> bool:
        """End workers beyond the least number, if nobody calls; whether there is more room now."""
        return self._tending.give_way()

    # --- what it does by itself ---

    def supervise(self, timeout_s: float = 0.5) -> None:
        """Look once for dead workers, waiting at most `timeout_s` for one, and have them replaced."""
        self._healer.look(timeout_s)

    def tend(self) -> None:
        """End what nobody needs, follow the load, judge a canary: once."""
        self._tending.tend()

    def run(self) -> None:
        """Supervise until `stop`."""
        # by itself: it asks workers, and one that does not answer must not keep the dead from being replaced
        threading.Thread(target=self._again, args=(self.tend, _TEND_S), name="sparkmodel-tend", daemon=True).start()
        self._again(self.supervise, 0.0)

    def _again(self, task: Callable[[], None], pause_s: float) -> None:
        while not self.stopped.wait(pause_s):
            try:
                task()
            except Exception:  # the pool must not lose its supervisor to one bad answer
                _log.exception("supervision of '%s' failed once", self.name)
                self.stopped.wait(1.0)

    def stop(self) -> None:
        """End all workers and give their slots back; what is loading ends too, and who waits for it is told."""
        core = self._core
        with core.lock:
            self.stopped.set()
            waited_for = [*core.crew.loading, *core.crew.ending]
            core.lock.notify_all()
        at_once(lambda member: member.close(0.0), waited_for)
        with core.change:
            if self.directory.state == "stopped":
                return
            core.publish()
            core.crew.stop()
            for key in core.record.payloads():
                self._launcher.forget(key)


def _told(end: End | None) -> dict[str, Any] | None:
    """For people: when a worker ended, and why."""
    return None if end is None else {"time": end.at, "pid": end.pid, "cause": end.cause, "fact": end.fact}
