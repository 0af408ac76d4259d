# SPDX-License-Identifier: Apache-2.0
"""Workers that are missing are started: in a dead one's place, for more load, or because somebody calls."""

from __future__ import annotations

import logging
import threading
from typing import Any, NamedTuple

from sparkmodel.errors import PoolNotReadyError
from sparkmodel.pool.budget import RestartBudget
from sparkmodel.pool.core import Core
from sparkmodel.pool.ends import End
from sparkmodel.pool.judge import LOST, SILENT
from sparkmodel.pool.launcher import Member
from sparkmodel.wire.verdicts import EXIT, KILLED

_log = logging.getLogger(__name__)
_LOOK_S = 0.2
_LOAD = "load"


class Failing(NamedTuple):
    """A version of which no worker starts.

    Attributes:
        error: Why the latest attempt failed.
        since: When the first of them did, in seconds since 1970.
        attempts: How many.
    """

    error: BaseException
    since: float
    attempts: int


class _Vacancy(NamedTuple):
    """The place of a worker that has died: its slot, and why the next one has to wait, if it has to."""

    slot: Any = None
    cause: str = ""


class Healer:
    """Brings each version to the number of workers that is wanted of it.

    A version that must have them is tried again and again; what is wanted beyond that is given up when it fails, and
    who waits for it is told. The pauses grow, for each slot and cause by itself, where workers end before they are of
    any use: while they load, or soon after and without a batch. One that was of use is replaced at once, however often.

    Args:
        core: The pool's state.
        budget: How soon those are replaced; None is a budget for each slot and cause.

    Attributes:
        failing: Why the latest start of a version failed, for as long as none has succeeded since.
    """

    def __init__(self, core: Core, budget: RestartBudget | None) -> None:
        self.failing: dict[int, Failing] = {}
        self._core, self._crew, self._budget = core, core.crew, budget
        self._budgets: dict[tuple[int, Any, str], RestartBudget] = {}
        self._pending: dict[int, int] = {}
        self._vacancies: dict[int, list[_Vacancy]] = {}
        self._failures: dict[int, int] = {}
        self._unlisted: set[int] = set()

    def look(self, timeout_s: float) -> None:
        """Wait at most so long for a worker to die; start what is missing."""
        members = self._crew.all()
        if members:
            self._bury(self._core.launcher.wait_dead(members, timeout_s))
        else:
            self._core.stopped.wait(timeout_s)
        self._bury([member for member in self._crew.all() if member.state == LOST])
        self._core.end_later(self._crew.found(), grace_s=0.0)
        self._relist()
        self.fill()
        self._crew.release_vacant()

    def _relist(self) -> None:
        """Callers are sent to those that go on only."""
        with self._core.lock:
            unlisted = {id(member) for member in self._crew.all() if member.state == SILENT}
            if unlisted != self._unlisted and not self._core.stopped.is_set():
                self._unlisted = unlisted
                self._core.publish()

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
                    left = self._vacancies.get(version)
                    vacancy = left.pop(0) if left else _Vacancy()
                    threading.Thread(
                        target=self._replace, args=(version, vacancy), name="sparkmodel-replace", daemon=True
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
                    raise self.failing[version].error
                if core.clock() > deadline:
                    raise self._too_late(version)
                if version not in core.paused and self._failures.get(version, 0) == failures:
                    self._crew.wanted[version] = max(1, self._crew.wanted.get(version, 0))
                    self.fill()
                core.lock.wait(_LOOK_S)
            return members

    def _too_late(self, version: int) -> PoolNotReadyError:
        failing = self.failing.get(version)
        why = "" if failing is None else f"; the last attempt failed: {failing.error}"
        return PoolNotReadyError(
            f"Cannot use model '{self._core.name}'", f"no worker of version {version} was ready in time{why}"
        )

    def _bury(self, dead: list[Member]) -> None:
        for member in dead:
            end = member.ended() or self._unseen(member)
            with self._core.lock:
                if self._core.stopped.is_set() or not self._crew.lose(member, end):
                    continue
                self._vacancies.setdefault(member.version, []).append(
                    _Vacancy(member.slot, end.cause if end.is_false_start else "")
                )
                self._core.publish([member])
        if dead:
            self._core.note()  # what they have done is to outlive this master

    def _unseen(self, member: Member) -> End:
        """Of a worker of whose end nobody tells."""
        if member.state == LOST:
            return End(cause=KILLED, fact="nothing was heard of its host for a while")
        last = self._crew.counters.last([member])
        batches = int(last[0].get("batches", 0)) if last else 0
        return End(cause=EXIT, fact="its worker has ended, and nobody saw how", batches=batches)

    def _replace(self, version: int, vacancy: _Vacancy) -> None:
        """Start one worker, again and again with growing pauses until one lives or none is wanted."""
        slot, cause = vacancy
        try:
            while True:
                if cause and self._core.stopped.wait(self._budget_of(version, slot, cause).take()):
                    return
                if not self._is_missing(version) or self._try(version, slot):
                    return
                cause = _LOAD
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

    def _budget_of(self, version: int, slot: Any, cause: str) -> RestartBudget:
        if self._budget is not None:
            return self._budget
        with self._core.lock:
            living = self._core.record.generations
            self._budgets = {key: one for key, one in self._budgets.items() if key[0] in living}
            return self._budgets.setdefault((version, slot, cause), RestartBudget(clock=self._core.clock))

    def _try(self, version: int, slot: Any) -> bool:
        """Whether nothing is left to be done."""
        core, crew = self._core, self._crew
        with core.lock:
            generation = core.record.generations[version]
            vacant = crew.vacant.get(version, [])
            slots = [vacant.pop(vacant.index(slot) if slot in vacant else -1)] if vacant else []
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
                    self.failing.pop(version, None)
                    return True
            generation = newest
            member.configure(newest.spec)  # the limits were changed while it loaded
        crew.dismiss(version, [member], [member.slot])
        return True

    def _failed(self, version: int, slots: list[object], error: BaseException) -> bool:
        core, crew = self._core, self._crew
        with core.lock:
            crew.vacant.setdefault(version, []).extend(slots)
            before = self.failing.get(version)
            self.failing[version] = Failing(
                error, core.now() if before is None else before.since, 1 if before is None else before.attempts + 1
            )
            self._failures[version] = self._failures.get(version, 0) + 1
            has = len(crew.of(version))
            is_optional = has >= core.least(version)
            if is_optional and version in crew.wanted:
                crew.wanted[version] = has
            core.publish()
        return is_optional
