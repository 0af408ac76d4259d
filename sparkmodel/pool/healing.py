# SPDX-License-Identifier: Apache-2.0
"""Workers that are missing are started: in a dead one's place, for more load, or because somebody calls."""

from __future__ import annotations

import logging
import threading

from sparkmodel.errors import PoolNotReadyError
from sparkmodel.pool.budget import RestartBudget
from sparkmodel.pool.core import Core
from sparkmodel.pool.launcher import Member

_log = logging.getLogger(__name__)
_LOOK_S = 0.2


class Healer:
    """Brings each version to the number of workers that is wanted of it.

    A version that must have them is tried again and again, with growing pauses; what is wanted beyond that is given
    up when it fails, and who waits for it is told.

    Args:
        core: The pool's state.
        budget: How soon dead workers are replaced; None is a budget for each version.
    """

    def __init__(self, core: Core, budget: RestartBudget | None) -> None:
        self.restarts = 0
        self.errors: dict[int, BaseException] = {}  # why the latest start of a version failed
        self._core, self._crew, self._budget = core, core.crew, budget
        self._budgets: dict[int, RestartBudget] = {}
        self._pending: dict[int, int] = {}
        self._died: dict[int, int] = {}
        self._failures: dict[int, int] = {}

    def look(self, timeout_s: float) -> None:
        """Wait at most so long for a worker to die; start what is missing."""
        members = self._crew.all()
        if members:
            self._bury(self._core.launcher.wait_dead(members, timeout_s))
        else:
            self._core.stopped.wait(timeout_s)
        self.fill()
        self._crew.release_vacant()

    def fill(self) -> None:
        """Begin to start what is missing."""
        with self._core.lock:
            if self._core.stopped.is_set():
                return
            for version, wanted in list(self._crew.wanted.items()):
                if version in self._core.paused or version not in self._core.record.generations:
                    continue
                for _ in range(wanted - len(self._crew.of(version)) - self._pending.get(version, 0)):
                    self._pending[version] = self._pending.get(version, 0) + 1
                    died = self._died.get(version, 0)
                    self._died[version] = max(0, died - 1)
                    threading.Thread(
                        target=self._replace, args=(version, died > 0), name="sparkmodel-replace", daemon=True
                    ).start()

    def wake(self, version: int, deadline: float) -> list[Member]:
        """The workers of a version; if there are none, start one and wait for it.

        Raises:
            PoolNotReadyError, PoolNotPlacedError, ModelLoadError: there is none in time, or cannot be.
            PoolGoneError: the pool was dropped.
        """
        core = self._core
        with core.lock:
            failures = self._failures.get(version, 0)
            while not (members := self._crew.of(version)):
                self._crew.check_alive()
                if self._failures.get(version, 0) != failures and not core.least(version):
                    raise self.errors[version]
                if core.clock() > deadline:
                    raise self._too_late(version)
                if version not in core.paused and self._failures.get(version, 0) == failures:
                    self._crew.wanted[version] = max(1, self._crew.wanted.get(version, 0))
                    self.fill()
                core.lock.wait(_LOOK_S)
            return members

    def _too_late(self, version: int) -> PoolNotReadyError:
        error = self.errors.get(version)
        why = "" if error is None else f"; the last attempt failed: {error}"
        return PoolNotReadyError(
            f"Cannot use model '{self._core.name}'", f"no worker of version {version} was ready in time{why}"
        )

    def _bury(self, dead: list[Member]) -> None:
        for member in dead:
            with self._core.lock:
                if self._core.stopped.is_set() or not self._crew.lose(member):
                    continue
                self.restarts += 1
                self._died[member.version] = self._died.get(member.version, 0) + 1
                self._core.publish([member])

    def _replace(self, version: int, is_restart: bool) -> None:
        """Start one worker, again and again with growing pauses until one lives or none is wanted."""
        budget = self._budget or self._budgets.setdefault(version, RestartBudget(clock=self._core.clock))
        try:
            while True:
                if is_restart and self._core.stopped.wait(budget.take()):
                    return
                if not self._is_missing(version) or self._try(version):
                    return
                is_restart = True
        finally:
            with self._core.lock:
                self._pending[version] -= 1
                self._core.lock.notify_all()

    def _is_missing(self, version: int) -> bool:
        with self._core.lock:
            return (
                not self._core.stopped.is_set()
                and version in self._core.record.generations
                and self._crew.wanted.get(version, 0) > len(self._crew.of(version))
            )

    def _try(self, version: int) -> bool:
        """Whether nothing is left to be done."""
        core, crew = self._core, self._crew
        with core.lock:
            generation = core.record.generations[version]
            vacant = crew.vacant.get(version, [])
            slots = [vacant.pop()] if vacant else []
        timeout_s = generation.spec.options.ready_timeout_s
        try:
            (member,) = crew.hire(generation, 1, timeout_s, slots)
        except Exception as error:  # whatever it was: the place must not stay empty
            _log.warning("a worker of version %d of '%s' did not start: %s", version, core.name, error)
            return self._failed(version, slots, error)
        while True:
            with core.lock:
                newest = core.record.generations.get(version)
                if not self._is_missing(version) or newest is None:
                    break
                if newest.spec == generation.spec:
                    crew.admit([member])
                    core.publish()
                    self.errors.pop(version, None)
                    return True
            generation = newest
            member.configure(newest.spec)  # the limits were changed while it loaded
        crew.dismiss(version, [member], [member.slot])
        return True

    def _failed(self, version: int, slots: list[object], error: BaseException) -> bool:
        core, crew = self._core, self._crew
        with core.lock:
            crew.vacant.setdefault(version, []).extend(slots)
            self.errors[version] = error
            self._failures[version] = self._failures.get(version, 0) + 1
            has = len(crew.of(version))
            is_optional = has >= core.least(version)
            if is_optional and version in crew.wanted:
                crew.wanted[version] = has
            core.publish()
        return is_optional
