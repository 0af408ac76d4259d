# SPDX-License-Identifier: Apache-2.0
"""Intents, one at a time: each is done whole and recorded, or leaves the pool as it was."""

from __future__ import annotations

import dataclasses
from typing import Any

from sparkmodel.errors import (
    InvalidOptionError,
    NoPreviousVersionError,
    RevisionChangedError,
    VersionRetiredError,
)
from sparkmodel.pool.commits import Commits
from sparkmodel.pool.compose import Next, compose, with_limits
from sparkmodel.pool.core import Core
from sparkmodel.pool.healing import Healer
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.moves import Moves
from sparkmodel.pool.openings import Openings
from sparkmodel.pool.record import Record
from sparkmodel.pool.sizes import clamp
from sparkmodel.pool.turns import Turns


class Changes:
    """Applies intents.

    Args:
        core: The pool's state.
        healer: Starts what is missing.

    Attributes:
        turns: Which intents wait or are under way.
        openings: How far the change is that is under way.
    """

    def __init__(self, core: Core, healer: Healer) -> None:
        self._core = core
        self.turns = Turns(core)
        self.openings = Openings(core, healer, self.turns)
        self._commits = Commits(core, healer)
        self._moves = Moves(core, self.turns, self.openings, self._commits)

    def apply(self, intent: Intent, payload: Any = None) -> Applied:
        """Do it; the same one again is what it led to.

        Raises:
            ControlTimeoutError: its time had passed before it could be done; it is not done.
            RevisionChangedError: the pool is not what it was made for.
            PoolGoneError: the pool was dropped.
            SparkModelError: it cannot be done; the pool is as it was.
        """
        with self.turns.turn(intent):
            done = self._core.record.applied.get(intent.id)
            if done is not None:
                return done
            self.turns.check(intent)
            if intent.expect is not None and intent.kind != "follow" and intent.expect < self._core.record.changed:
                raise RevisionChangedError(
                    f"Cannot change model '{self._core.name}'",
                    f"it was changed meanwhile: its revision is {tuple(self._core.record.changed)}, "
                    f"{tuple(intent.expect)} was expected",
                    "look at it again",
                )
            return self._do(intent, payload)

    def rolled_back(self, intent: Intent, note: str) -> bool:
        """End a canary that does not do, unless somebody changes the pool right now."""
        if not self._core.change.acquire(blocking=False):
            return False
        try:
            canary = self._core.record.canary
            if canary is None or self._core.stopped.is_set():
                return False
            self._moves.drop_canary(intent, canary, note)
            return True
        finally:
            self._core.change.release()

    def _do(self, intent: Intent, payload: Any) -> Applied:
        record = self._core.record
        if intent.kind == "promote":
            return self._promote(intent)
        if intent.kind == "rollback":
            return self._roll_back(intent)
        if intent.kind == "follow" and not self._follows(intent, record):
            return self._commits.settle(intent)
        try:
            current = record.current if intent.kind == "replace" else self._core.current
            next_ = compose(intent, None if current is None else current.spec)
        except Exception:
            self._commits.saw(intent)
            raise
        if next_.reloads:
            return self._moves.move(intent, next_, payload)
        return self._adjust(intent, next_)

    def _follows(self, intent: Intent, record: Record) -> bool:
        """Whether a name that has moved still is what the pool is to follow."""
        assert intent.source is not None
        source = self._core.current.spec.source
        if intent.expect is not None and intent.expect < record.moved:
            return False  # somebody has moved the pool since the look at the name
        return intent.source.source.given == source.given and intent.source.source.uri != source.uri

    def _promote(self, intent: Intent) -> Applied:
        canary = self._core.record.canary
        if canary is None:
            raise InvalidOptionError(
                f"Cannot promote a version of model '{self._core.name}'",
                "none is on trial",
                "update the model with traffic= first",
            )
        return self._moves.bring_back(intent, canary.version)

    def _roll_back(self, intent: Intent) -> Applied:
        record = self._core.record
        if record.canary is not None and intent.to in (None, record.primary):
            return self._moves.drop_canary(intent, record.canary)
        if intent.to is None and record.previous is None:
            raise NoPreviousVersionError(
                f"Cannot roll back model '{self._core.name}'",
                f"version {self._core.current.version} is the first that this pool served",
            )
        to = intent.to if intent.to is not None else record.previous
        assert to is not None
        if to == record.primary:
            return self._commits.settle(intent)
        if to not in record.generations:
            raise VersionRetiredError(
                f"Cannot roll back model '{self._core.name}'",
                f"version {to} is not known any more, or never was",
                f"known are {sorted(record.generations)}",
            )
        return self._moves.bring_back(intent, to)

    def _adjust(self, intent: Intent, next_: Next) -> Applied:
        """Other limits, another size: nobody reloads."""
        core, crew, record = self._core, self._core.crew, self._core.record
        current = core.current
        workers = next_.spec.options.workers
        generation = dataclasses.replace(current, spec=next_.spec)
        generations = {**record.generations, current.version: generation}
        if record.canary is not None:
            other = generations[record.canary.version]
            spec = with_limits(other.spec, next_.spec.options)
            generations[record.canary.version] = dataclasses.replace(other, spec=spec)
        wanted = crew.wanted.get(current.version, 0)
        count = clamp(wanted, workers)
        members: list[Member] = []
        if workers != current.spec.options.workers:
            core.step("scaling")
            missing = count - len(crew.of(current.version))
            if count > wanted and missing > 0:
                timeout_s = self.turns.left_s(intent, next_.spec.options.ready_timeout_s)
                members = crew.hire(generation, missing, timeout_s)
            core.step("scaled")
        try:
            self.turns.check(intent)
            applied = self._commits.commit(intent, {"generations": generations}, members, {current.version: count}, [])
        except BaseException:
            crew.dismiss(current.version, members, [member.slot for member in members])
            raise
        for version in core.record.serving if next_.spec.options != current.spec.options else ():
            core.configure(crew.of(version), core.record.generations[version].spec)
        return applied
