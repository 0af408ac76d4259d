# SPDX-License-Identifier: Apache-2.0
"""The master as a plain class: starts workers, replaces dead ones, moves the pool from version to version.

It is never on a batch's way. What it tells callers is a `Directory`: the endpoints of the workers with an epoch.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sparkmodel.errors import (
    NoPreviousVersionError,
    PoolGoneError,
    PoolNotReadyError,
)
from sparkmodel.pool.budget import RestartBudget
from sparkmodel.pool.launcher import Launcher, Member
from sparkmodel.schema import Column
from sparkmodel.scoring.tally import summarize
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory

_log = logging.getLogger(__name__)
_GRACE_S = 0.5  # callers of an old version learn the new endpoints from its answers before it stops


@dataclasses.dataclass(frozen=True)
class Generation:
    """One immutable version of what the pool serves."""

    version: int
    spec: ModelSpec
    payload: Any = None
    feature_names: tuple[str, ...] | None = None

    @property
    def described(self) -> ModelSpec:
        """The spec, with the columns that the loaded model knows of itself where it has no signature."""
        signature = self.spec.signature
        if signature.inputs is not None or self.feature_names is None:
            return self.spec
        inputs = tuple(Column(name=name, type=None) for name in self.feature_names)
        return dataclasses.replace(self.spec, signature=dataclasses.replace(signature, inputs=inputs))


class Master:
    """Supervises the workers of one model.

    Args:
        name: The model's name.
        launcher: Places and starts workers.
        budget: How soon dead workers are replaced.
    """

    def __init__(self, name: str, launcher: Launcher, budget: RestartBudget | None = None) -> None:
        self.name = name
        self.directory = Directory()
        self.phase = "placing"
        self.restarts = 0
        self._launcher = launcher
        self._budget = budget or RestartBudget()
        self._change = threading.Lock()  # one deploy, rollback or stop at a time
        self._lock = threading.RLock()
        self._members: list[Member] = []
        self._starting: list[Member] = []
        self._slots: list[Any] = []
        self._generations: dict[int, Generation] = {}
        self._current: Generation | None = None
        self._previous: int | None = None
        self.stopped = threading.Event()

    def __repr__(self) -> str:
        return f"Master({self.name!r}, {self.directory})"

    @property
    def current(self) -> Generation:
        """What the pool serves.

        Raises:
            PoolNotReadyError: the first version is still loading.
        """
        if self._current is None:
            raise PoolNotReadyError(f"Cannot use model '{self.name}'", "no version of it is loaded yet", "wait for it")
        return self._current

    @property
    def serving(self) -> ModelSpec | None:
        """What the pool serves, None before the first deploy."""
        return self._current.spec if self._current else None

    def deploy(self, spec: ModelSpec, payload: Any = None) -> int:
        """Serve a new version; returns its number.

        The new version is loaded and probed beside the old one before any caller is sent to it. If that fails, the
        old one goes on as if nothing had been asked.
        """
        with self._change:
            self._check_alive()
            version = max(self._generations, default=0) + 1
            self._move(Generation(version, spec, payload))
            return version

    def reconfigure(self, changes: Mapping[str, Any]) -> int:
        """Serve the same model with some fields of its spec changed; returns the new version's number.

        What is served is read here, not by who asks: the name that the pool follows may move meanwhile.
        """
        with self._change:
            self._check_alive()
            version = max(self._generations, default=0) + 1
            spec = dataclasses.replace(self.current.spec, **changes)
            self._move(Generation(version, spec, self.current.payload))
            return version

    def rollback(self) -> int:
        """Serve the version before the current one again; returns its number.

        Raises:
            NoPreviousVersionError: there was none.
        """
        with self._change:
            self._check_alive()
            if self._previous is None:
                raise NoPreviousVersionError(
                    f"Cannot roll back model '{self.name}'",
                    f"version {self.current.version} is the first that this pool served",
                )
            # a new object: a replacement that was under way for the version's first time must not join again
            self._move(dataclasses.replace(self._generations[self._previous]))
            return self.current.version

    def supervise(self, timeout_s: float = 0.5) -> None:
        """Look once for dead workers, waiting at most `timeout_s` for one, and have them replaced."""
        with self._lock:
            members = list(self._members)
        if not members:
            self.stopped.wait(timeout_s)
            return
        for member in self._launcher.wait_dead(members, timeout_s):
            with self._lock:
                if self.stopped.is_set() or member not in self._members:
                    continue
                self._members.remove(member)
                self.restarts += 1
                self._publish()
                replace = threading.Thread(target=self._replace, args=(member.slot, self.current), daemon=True)
            replace.start()

    def run(self) -> None:
        """Supervise until `stop`."""
        while not self.stopped.is_set():
            try:
                self.supervise()
            except Exception:  # the pool must not lose its supervisor to one bad answer
                _log.exception("supervision of '%s' failed once", self.name)
                self.stopped.wait(1.0)

    def stop(self) -> None:
        """End all workers and give their slots back; what is loading ends too, and who waits for it is told."""
        self.stopped.set()
        with self._lock:
            starting = list(self._starting)
        self._close(starting, 0.0)
        with self._change, self._lock:
            members, self._members = self._members + self._starting, []
            slots, self._slots = self._slots, []
            self._starting = []
            self._publish()
        self._close(members, 0.0)
        self._launcher.release(slots)

    def status(self) -> dict[str, Any]:
        """Where a deploy is: phase, workers that serve, workers asked for."""
        with self._lock:
            ready = self._launcher.progress(self._starting)
            return {"phase": self.phase, "ready": ready, "workers": len(self._starting)}

    def stats(self) -> dict[str, Any]:
        """Counters of the pool and of each worker."""
        with self._lock:
            members = list(self._members)
        with ThreadPoolExecutor(max_workers=max(1, len(members))) as threads:
            workers = list(threads.map(lambda member: member.stats(), members))
        totals = {
            key: sum(worker.get(key, 0) for worker in workers)
            for key in ("loads", "batches", "rows", "errors", "calls", "rows_failed", "predict_s", "queued")
        }
        return {
            "name": self.name,
            "version": self.directory.version,
            "state": self.directory.state,
            "restarts": self.restarts,
            **totals,
            **summarize(workers),
            "workers": workers,
        }

    def _check_alive(self) -> None:
        if self.stopped.is_set():
            raise PoolGoneError(f"Cannot move model '{self.name}'", "its pool was dropped")

    def _move(self, generation: Generation) -> None:
        old = self._current
        options = generation.spec.options
        deadline = time.monotonic() + options.ready_timeout_s
        reuse = old is not None and old.spec.options.bundle == options.bundle
        kept = self._slots[: options.workers] if reuse else []
        self.phase = "placing"
        fresh: list[Any] = []
        try:
            missing = options.workers - len(kept)
            fresh = self._launcher.reserve(missing, options.bundle, options.ready_timeout_s, self.stopped)
            members = self._start(generation, kept + fresh, deadline)
        except BaseException:
            self._launcher.release(fresh)
            self.phase = "ready" if old else "failed"
            self._check_alive()  # if it was dropped meanwhile, that is why
            raise
        with self._lock:
            retired, self._members = self._members, members
            surplus = [slot for slot in self._slots if slot not in kept]
            self._slots = kept + fresh
            generation = dataclasses.replace(generation, feature_names=members[0].feature_names)
            self._generations[generation.version] = generation
            self._previous = old.version if old else None
            self._current = generation
            self._forget()
            self._publish(retired)
            self.phase = "ready"
        if retired:
            time.sleep(_GRACE_S)
            self._close(retired, old.spec.options.timeout_s if old else 0.0)
        self._launcher.release(surplus)

    def _forget(self) -> None:
        """Keep only what a rollback needs: a shipped model may be large. The newest number stays taken."""
        keep = {self.current.version, self._previous, max(self._generations)}
        self._generations = {v: g for v, g in self._generations.items() if v in keep}

    def _start(self, generation: Generation, slots: Sequence[Any], deadline: float) -> list[Member]:
        members: list[Member] = []
        try:
            for slot in slots:
                members.append(self._launcher.start(generation.spec, generation.version, generation.payload, slot))
            with self._lock:
                self.phase, self._starting = "loading", members
            self._check_alive()  # else a `stop` that came before they were noted would wait for them
            self._launcher.join(members, max(0.0, deadline - time.monotonic()))
            return members
        except BaseException:
            self._close(members, 0.0)
            raise
        finally:
            with self._lock:
                self._starting = []

    def _replace(self, slot: Any, generation: Generation) -> None:
        """Start a worker in a dead one's slot, again and again with growing pauses until one lives."""
        while True:
            if self.stopped.wait(self._budget.take()):
                return
            with self._lock:
                if self._current is not generation or slot not in self._slots:
                    return  # a newer version has its own workers
            member: Member | None = None
            try:
                member = self._launcher.start(generation.spec, generation.version, generation.payload, slot)
                self._launcher.join([member], generation.spec.options.ready_timeout_s)
            except Exception as error:  # whatever it was: the slot must not stay empty
                _log.warning("a replacement worker of '%s' did not start: %s", self.name, error)
                self._close([member] if member else [], 0.0)
                continue
            with self._lock:
                if self._current is generation and not self.stopped.is_set():
                    self._members.append(member)
                    self._publish()
                    return
            self._close([member], 0.0)
            return

    def _publish(self, retired: Sequence[Member] = ()) -> None:
        if self.stopped.is_set():
            state = "stopped"
        elif self._current and len(self._members) >= self._current.spec.options.workers:
            state = "ready"
        else:
            state = "healing"
        self.directory = Directory(
            self.directory.epoch + 1,
            tuple(member.endpoint for member in self._members),
            state,
            self._current.version if self._current else 0,
        )
        for member in (*self._members, *retired):
            member.publish(self.directory)

    @staticmethod
    def _close(members: Sequence[Member], drain_s: float) -> None:
        if members:
            with ThreadPoolExecutor(max_workers=len(members)) as threads:
                list(threads.map(lambda member: member.close(drain_s), members))
