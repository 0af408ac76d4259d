# SPDX-License-Identifier: Apache-2.0
"""Intents, one at a time: each is done whole and recorded, or leaves the pool as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from sparkmodel.errors import (
    ControlTimeoutError,
    InputsChangedError,
    InvalidOptionError,
    NoPreviousVersionError,
    RevisionChangedError,
    VersionRetiredError,
)
from sparkmodel.pool.compose import Next, compose, with_limits
from sparkmodel.pool.core import Core
from sparkmodel.pool.generations import Generation, accepting
from sparkmodel.pool.healing import Healer
from sparkmodel.pool.history import begun, turned
from sparkmodel.pool.intents import UNTIL_DONE, Applied, Intent
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.record import Canary, Record
from sparkmodel.pool.sizes import bounds, clamp

_LOOK_S = 0.2
_ANOTHER_VERSION = ("replace", "source", "promote", "rollback")


class Changes:
    """Applies intents.

    Args:
        core: The pool's state.
        healer: Starts what is missing.
    """

    def __init__(self, core: Core, healer: Healer) -> None:
        self.phase = "placing"
        self._core, self._crew, self._healer = core, core.crew, healer
        self._under_way: dict[str, int] = {}
        self._cancelled: set[str] = set()

    def apply(self, intent: Intent, payload: Any = None) -> Applied:
        """Do it; the same one again is what it led to.

        Raises:
            ControlTimeoutError: its time had passed before it could be done; it is not done.
            RevisionChangedError: the pool is not what it was made for.
            PoolGoneError: the pool was dropped.
            SparkModelError: it cannot be done; the pool is as it was.
        """
        with self._turn(intent):
            done = self._core.record.applied.get(intent.id)
            if done is not None:
                return done
            self._check(intent)
            if intent.expect is not None and intent.kind != "follow" and intent.expect < self._core.record.changed:
                raise RevisionChangedError(
                    f"Cannot change model '{self._core.name}'",
                    f"it was changed meanwhile: its revision is {tuple(self._core.record.changed)}, "
                    f"{tuple(intent.expect)} was expected",
                    "look at it again",
                )
            return self._do(intent, payload)

    def outcome(self, intent_id: str) -> Applied | None:
        """What an intent has led to, waiting for one that is under way; None for one that was not done."""
        with self._core.lock:
            while intent_id in self._under_way:
                self._core.lock.wait(_LOOK_S)
            return self._core.record.applied.get(intent_id)

    def cancel(self, intent_id: str) -> None:
        """Have an intent under way end undone, unless it is recorded already: who asked has gone."""
        with self._core.lock:
            if intent_id not in self._under_way:
                return
            self._cancelled.add(intent_id)
            loading = list(self._crew.loading)
        for member in loading:  # replacements are among them: they are started again
            member.close(0.0)

    def rolled_back(self, intent: Intent, note: str) -> bool:
        """End a canary that does not do, unless somebody changes the pool right now."""
        if not self._core.change.acquire(blocking=False):
            return False
        try:
            canary = self._core.record.canary
            if canary is None or self._core.stopped.is_set():
                return False
            self._drop_canary(intent, canary, note)
            return True
        finally:
            self._core.change.release()

    @contextlib.contextmanager
    def _turn(self, intent: Intent) -> Iterator[None]:
        core = self._core
        with core.lock:
            self._under_way[intent.id] = self._under_way.get(intent.id, 0) + 1
        try:
            while not core.change.acquire(timeout=_LOOK_S):
                self._check(intent)
            try:
                yield
            finally:
                core.change.release()
        finally:
            with core.lock:
                self._under_way[intent.id] -= 1
                if not self._under_way[intent.id]:
                    del self._under_way[intent.id]
                    self._cancelled.discard(intent.id)
                core.lock.notify_all()

    def _check(self, intent: Intent) -> None:
        self._crew.check_alive()
        if intent.id in self._cancelled or self._core.now() > intent.not_after:
            raise ControlTimeoutError(
                f"Cannot change model '{self._core.name}'",
                "it could not be done in the time that there was for it; the pool is as it was",
                "ask again, with more time",
            )

    def _do(self, intent: Intent, payload: Any) -> Applied:
        record = self._core.record
        if intent.kind == "promote":
            return self._promote(intent)
        if intent.kind == "rollback":
            return self._roll_back(intent)
        if intent.kind == "follow" and not self._follows(intent, record):
            return self._settle(intent, record)
        try:
            next_ = compose(intent, self._core.current.spec if intent.kind != "replace" else self._spec())
        except Exception:
            self._saw(intent)
            raise
        if next_.reloads:
            return self._move(intent, next_, payload)
        return self._adjust(intent, next_)

    def _spec(self) -> Any:
        current = self._core.record.current
        return current and current.spec

    def _follows(self, intent: Intent, record: Record) -> bool:
        """Whether a name that has moved still is what the pool is to follow."""
        assert intent.source is not None
        source = self._core.current.spec.source
        if intent.expect is not None and intent.expect < record.moved:
            return False  # somebody has moved the pool since the look at the name
        return intent.source.source.given == source.given and intent.source.source.uri != source.uri

    def _saw(self, intent: Intent) -> Record:
        """Note what a followed name was seen to mean: it is tried once."""
        record = self._core.record
        if intent.kind == "follow" and intent.source is not None:
            record = dataclasses.replace(record, seen=(intent.source.source.given, intent.source.source.uri))
            self._core.ledger.write(record)
            self._core.record = record
        return record

    # --- other versions ---

    def _move(self, intent: Intent, next_: Next, payload: Any) -> Applied:
        core, crew = self._core, self._crew
        core.record = dataclasses.replace(self._saw(intent), newest=core.record.newest + 1)
        core.ledger.write(core.record)  # a number is never given twice
        current = core.record.current
        key = current.payload if current else ""
        if next_.is_new:
            key = "" if payload is None else core.launcher.keep(payload)
        generation = Generation(
            version=core.record.newest,
            spec=next_.spec,
            payload=key,
            registration=core.record.registration + next_.is_whole,
        )
        self.phase = "placing"
        try:
            generation = self._accepting(generation, intent)
            count = self._count(generation, intent)
            members = self._start(intent, generation, count)
            generation = dataclasses.replace(generation, feature_names=members[0].feature_names if members else None)
            try:
                generation = self._accepting(generation, intent)  # the loaded model knows its columns
                self._check(intent)
                applied = self._serve(intent, generation, members, count)
            except BaseException:
                crew.dismiss(generation.version, members, [member.slot for member in members])
                raise
        except BaseException as error:
            self.phase = "ready" if current else "failed"
            self._resume()
            if not crew.stopped.is_set():
                entries = begun(core.record.entries, generation, intent, "failed", core.now(), str(error))
                core.record = dataclasses.replace(core.record, entries=entries)
                core.note()
            if key and key not in core.record.payloads():
                core.launcher.forget(key)
            raise
        self.phase = "ready"
        return applied

    def _accepting(self, generation: Generation, intent: Intent) -> Generation:
        current = self._core.record.current
        allowed = intent.allow_new_inputs or intent.kind == "replace"
        if intent.traffic is not None and current is not None:
            try:
                return accepting(generation, current, False)
            except InputsChangedError as error:
                raise InputsChangedError(error.what, error.fact, "update without traffic") from None
        return accepting(generation, current, allowed)

    def _count(self, generation: Generation, intent: Intent) -> int:
        current = self._core.record.current
        workers = generation.spec.options.workers
        wanted = bounds(workers)[0] if current is None else self._crew.wanted.get(current.version, 0)
        if current is not None and current.spec.options.workers != workers:
            wanted = bounds(workers)[0]
        wanted = max(1, clamp(wanted, workers))  # one at least shows that the model can be loaded
        return wanted if intent.traffic is None or current is None else max(1, math.ceil(wanted * intent.traffic))

    def _start(self, intent: Intent, generation: Generation, count: int) -> list[Member]:
        core, crew = self._core, self._crew

        def step(name: str) -> None:
            if name == "reserved":
                self.phase = "loading"
            core.step(name)
            self._check(intent)

        slots: list[Any] = []
        if intent.stop_first and intent.traffic is None:
            slots = self._make_room(generation)
        timeout_s = generation.spec.options.ready_timeout_s
        timeout_s = max(0.0, min(timeout_s, intent.not_after - core.now()))
        try:
            members = crew.hire(generation, count, timeout_s, slots, step)
        except BaseException:
            self._return_room(generation.version, slots)
            self._check(intent)  # if it was cancelled meanwhile, that is why
            raise
        crew.slots.give_back(generation.version, slots[count:])
        return members

    def _make_room(self, generation: Generation) -> list[Any]:
        """End the workers of the current version; their slots are for the next, if they fit."""
        core, crew = self._core, self._crew
        current = core.record.current
        if current is None:
            return []
        with core.lock:
            core.paused.add(current.version)
            slots = crew.slots.share(generation.version, generation.spec.options.bundle, current.version)
            leaving = crew.leave(current.version, 0)
            core.publish()
        crew.end(leaving, current.spec.options.timeout_s)
        return slots

    def _return_room(self, version: int, slots: Sequence[Any]) -> None:
        current = self._core.record.current
        if slots and current is not None:
            with self._core.lock:
                for slot in slots:
                    self._crew.slots.keep(current.version, slot, current.spec.options.bundle)
                self._crew.vacant.setdefault(current.version, []).extend(slots)
            self._crew.slots.give_back(version, slots)

    def _resume(self) -> None:
        with self._core.lock:
            self._core.paused.clear()
            self._healer.fill()

    def _serve(self, intent: Intent, generation: Generation, members: Sequence[Member], count: int) -> Applied:
        """Record a new version, then let callers have it."""
        core = self._core
        record, now = core.record, core.now()
        if intent.traffic is None or record.primary is None:
            entries = begun(record.entries, generation, intent, "serving", now)
            return self._switch(intent, generation, members, count, entries)
        canary = Canary(
            version=generation.version, traffic=intent.traffic, max_error_rate=intent.max_error_rate, workers=count
        )
        entries = turned(record.entries, record.canary.version if record.canary else None, "old", now)
        changes = {
            "canary": canary,
            "generations": {**record.generations, generation.version: generation},
            "entries": begun(entries, generation, intent, "canary", now),
        }
        over = [] if record.canary is None else [record.canary.version]
        return self._commit(intent, changes, members, {generation.version: count}, over)

    def _switch(
        self, intent: Intent, generation: Generation, members: Sequence[Member], count: int, entries: Any
    ) -> Applied:
        """Make a version the primary."""
        record, now = self._core.record, self._core.now()
        version, old = generation.version, record.primary
        over = [v for v in record.serving if v != version]
        state = "rolled back" if intent.kind == "rollback" else "old"
        for one in over:
            entries = turned(entries, one, state if one == old else "old", now)
        until = math.inf if intent.keep_old == UNTIL_DONE else now + float(intent.keep_old)
        if intent.stop_first:
            until = 0.0
        source = generation.spec.source
        seen = record.seen if intent.kind in ("follow", "rollback", "promote") else (source.given, source.uri)
        changes = {
            "primary": version,
            "previous": old if old is not None and old != version else record.previous,
            "canary": None,
            "registration": max(record.registration, generation.registration),
            "generations": {**record.generations, version: generation},
            "entries": entries,
            "keep": {**record.keep, **{one: until for one in over}},
            "seen": seen,
        }
        return self._commit(intent, changes, members, {version: count}, over)

    def _promote(self, intent: Intent) -> Applied:
        canary = self._core.record.canary
        if canary is None:
            raise InvalidOptionError(
                f"Cannot promote a version of model '{self._core.name}'",
                "none is on trial",
                "update the model with traffic= first",
            )
        return self._bring_back(intent, canary.version)

    def _roll_back(self, intent: Intent) -> Applied:
        record = self._core.record
        if record.canary is not None and intent.to in (None, record.primary):
            return self._drop_canary(intent, record.canary, "")
        if intent.to is None and record.previous is None:
            raise NoPreviousVersionError(
                f"Cannot roll back model '{self._core.name}'",
                f"version {self._core.current.version} is the first that this pool served",
            )
        to = intent.to if intent.to is not None else record.previous
        assert to is not None
        if to == record.primary:
            return self._settle(intent, record)
        if to not in record.generations:
            raise VersionRetiredError(
                f"Cannot roll back model '{self._core.name}'",
                f"version {to} is not known any more, or never was",
                f"known are {sorted(record.generations)}",
            )
        return self._bring_back(intent, to)

    def _bring_back(self, intent: Intent, version: int) -> Applied:
        """Make a known version the primary, with the workers that it has and those that it lacks."""
        core, crew = self._core, self._crew
        current, generation = core.current, core.record.generations[version]
        if generation.registration == current.registration:  # limits and size are the pool's
            generation = dataclasses.replace(generation, spec=with_limits(generation.spec, current.spec.options))
        with contextlib.suppress(InputsChangedError):  # else plans of the current version stay with it
            generation = accepting(generation, current, False)
        count = self._count(generation, dataclasses.replace(intent, traffic=None))
        has = crew.of(version)
        core.configure(has, generation.spec)
        self.phase = "placing"
        try:
            missing = max(0, count - len(has))
            members = self._start(intent, generation, missing)
            try:
                entries = turned(core.record.entries, version, "serving", core.now())
                return self._switch(intent, generation, members, count, entries)
            except BaseException:
                crew.dismiss(version, members, [member.slot for member in members])
                raise
        finally:
            self._resume()
            self.phase = "ready"

    def _drop_canary(self, intent: Intent, canary: Canary, note: str) -> Applied:
        record, now = self._core.record, self._core.now()
        until = math.inf if intent.keep_old == UNTIL_DONE else now + float(intent.keep_old)
        changes = {
            "canary": None,
            "entries": turned(record.entries, canary.version, "rolled back", now, note),
            "keep": {**record.keep, canary.version: until},
        }
        return self._commit(intent, changes, [], {}, [canary.version])

    # --- the same version ---

    def _adjust(self, intent: Intent, next_: Next) -> Applied:
        """Other limits, another size: nobody reloads."""
        core, crew, record = self._core, self._crew, self._core.record
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
                timeout_s = next_.spec.options.ready_timeout_s
                timeout_s = max(0.0, min(timeout_s, intent.not_after - core.now()))
                members = crew.hire(generation, missing, timeout_s)
            core.step("scaled")
        try:
            self._check(intent)
            applied = self._commit(intent, {"generations": generations}, members, {current.version: count}, [])
        except BaseException:
            crew.dismiss(current.version, members, [member.slot for member in members])
            raise
        for version in core.record.serving if next_.spec.options != current.spec.options else ():
            core.configure(crew.of(version), core.record.generations[version].spec)
        return applied

    # --- the point of no return ---

    def _settle(self, intent: Intent, record: Record) -> Applied:
        """Nothing is to be done for an intent but to remember it."""
        applied = Applied(self._core.current.version, self._core.directory.revision)
        record = dataclasses.replace(self._saw(intent), applied={**record.applied, intent.id: applied})
        self._core.ledger.write(record)
        self._core.record = record
        return applied

    def _commit(
        self,
        intent: Intent,
        changes: dict[str, Any],
        members: Sequence[Member],
        wanted: dict[int, int],
        over: Sequence[int],
    ) -> Applied:
        """Record a change, then put it in force.

        Args:
            intent: Whose it is.
            changes: Fields of the record.
            members: New workers, that nobody knows of yet.
            wanted: Workers that versions are to have.
            over: Versions that get no new queries any more.
        """
        core, crew = self._core, self._crew
        record = core.record
        revision = core.next_revision
        canary: Canary | None = changes.get("canary", record.canary)
        version: int = changes.get("primary", record.primary or 0)
        if canary is not None and intent.kind in ("source", "replace"):
            version = canary.version
        applied = Applied(version, revision)
        before = record.payloads()
        with core.lock:
            living = {*crew.versions(), *over}
        record = dataclasses.replace(
            record,
            **changes,
            applied={**record.applied, intent.id: applied},
            changed=revision,
            moved=revision if intent.kind in _ANOTHER_VERSION else record.moved,
        ).trimmed(living)
        core.ledger.write(record)
        core.step("recorded")
        leaving: list[Member] = []
        with core.lock:
            crew.admit(members)
            core.record = record
            for version, count in wanted.items():
                core.retired.pop(version, None)
                crew.wanted[version] = count
                leaving += crew.leave(version, count)
            for version in over:
                core.retire(version)
            core.paused.clear()
            core.publish()
            applied = self._published(intent, applied)
        core.step("published")
        self._healer.fill()
        for key in before - record.payloads():
            core.launcher.forget(key)
        core.end_later(leaving)
        return applied

    def _published(self, intent: Intent, applied: Applied) -> Applied:
        """With the revision that it has come to have: workers may have been replaced since it was recorded."""
        core = self._core
        record, revision = core.record, core.directory.revision
        applied = dataclasses.replace(applied, revision=revision)
        core.record = dataclasses.replace(
            record,
            applied={**record.applied, intent.id: applied},
            changed=revision,
            moved=revision if intent.kind in _ANOTHER_VERSION else record.moved,
        )
        return applied
