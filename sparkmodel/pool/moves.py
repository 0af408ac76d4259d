# SPDX-License-Identifier: Apache-2.0
"""The pool moves to another version: a new one, or one that is known."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from sparkmodel.errors import InputsChangedError
from sparkmodel.pool.commits import Commits
from sparkmodel.pool.compose import Next, with_limits
from sparkmodel.pool.core import Core
from sparkmodel.pool.generations import Generation, accepting
from sparkmodel.pool.history import Entries, begun, turned
from sparkmodel.pool.intents import UNTIL_DONE, Applied, Intent
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.openings import Openings
from sparkmodel.pool.record import Canary
from sparkmodel.pool.turns import Turns


class Moves:
    """Moves the pool for who has the turn.

    Args:
        core: The pool's state.
        turns: Says whether an intent may go on.
        openings: Starts the workers.
        commits: Records it.
    """

    def __init__(self, core: Core, turns: Turns, openings: Openings, commits: Commits) -> None:
        self._core, self._turns, self._openings, self._commits = core, turns, openings, commits

    def move(self, intent: Intent, next_: Next, payload: Any) -> Applied:
        """Serve a new version, as the primary or as a canary.

        Args:
            intent: Whose wish it is.
            next_: What is to be served.
            payload: What was shipped for it.
        """
        core, crew = self._core, self._core.crew
        core.record = dataclasses.replace(self._commits.saw(intent), newest=core.record.newest + 1)
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
        self._openings.phase = "placing"
        try:
            self._accepting(generation, intent)  # before anything is started, as far as can be seen by then
            count = self._openings.count(generation, intent.traffic)
            members = self._openings.start(intent, generation, count)
            generation = dataclasses.replace(generation, feature_names=members[0].feature_names if members else None)
            try:
                generation = self._accepting(generation, intent)  # the loaded model knows its columns
                self._turns.check(intent)
                applied = self._serve(intent, generation, members, count)
            except BaseException:
                crew.dismiss(generation.version, members, [member.slot for member in members])
                raise
        except BaseException as error:
            self._openings.phase = "ready" if current else "failed"
            self._openings.resume()
            if not crew.stopped.is_set():
                entries = begun(core.record.entries, generation, intent, "failed", core.now(), str(error))
                core.record = dataclasses.replace(core.record, entries=entries)
                core.note()
            if key and key not in core.record.payloads():
                core.launcher.forget(key)
            raise
        self._openings.phase = "ready"
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
        return self._commits.commit(intent, changes, members, {generation.version: count}, over)

    def _switch(
        self, intent: Intent, generation: Generation, members: Sequence[Member], count: int, entries: Entries
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
        return self._commits.commit(intent, changes, members, {version: count}, over)

    def bring_back(self, intent: Intent, version: int) -> Applied:
        """Make a known version the primary, with the workers that it has and those that it lacks."""
        core, crew = self._core, self._core.crew
        current, generation = core.current, core.record.generations[version]
        if generation.registration == current.registration:  # limits and size are the pool's
            generation = dataclasses.replace(generation, spec=with_limits(generation.spec, current.spec.options))
        with contextlib.suppress(InputsChangedError):  # else plans of the current version stay with it
            generation = accepting(generation, current, False)
        count = self._openings.count(generation)
        has = crew.of(version)
        core.configure(has, generation.spec)
        self._openings.phase = "placing"
        try:
            missing = max(0, count - len(has))
            members = self._openings.start(intent, generation, missing)
            try:
                entries = turned(core.record.entries, version, "serving", core.now())
                return self._switch(intent, generation, members, count, entries)
            except BaseException:
                crew.dismiss(version, members, [member.slot for member in members])
                raise
        finally:
            self._openings.resume()
            self._openings.phase = "ready"

    def drop_canary(self, intent: Intent, canary: Canary, note: str = "") -> Applied:
        """Give a canary no more queries."""
        record, now = self._core.record, self._core.now()
        until = math.inf if intent.keep_old == UNTIL_DONE else now + float(intent.keep_old)
        changes = {
            "canary": None,
            "entries": turned(record.entries, canary.version, "rolled back", now, note),
            "keep": {**record.keep, canary.version: until},
        }
        return self._commits.commit(intent, changes, [], {}, [canary.version])
