# SPDX-License-Identifier: Apache-2.0
"""The point of no return of a change: it is recorded, then in force."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sparkmodel.pool.core import Core
from sparkmodel.pool.healing import Healer
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.record import Canary, Record

_ANOTHER_VERSION = ("replace", "source", "promote", "rollback")


class Commits:
    """Records changes and puts them in force; for who has the turn.

    Args:
        core: The pool's state.
        healer: Starts what is missing afterwards.
    """

    def __init__(self, core: Core, healer: Healer) -> None:
        self._core, self._healer = core, healer

    def saw(self, intent: Intent) -> Record:
        """Note what a followed name was seen to mean: it is tried once."""
        record = self._core.record
        if intent.kind == "follow" and intent.source is not None:
            record = dataclasses.replace(record, seen=(intent.source.source.given, intent.source.source.uri))
            self._core.ledger.write(record)
            self._core.record = record
        return record

    def settle(self, intent: Intent) -> Applied:
        """Nothing is to be done for an intent but to remember it."""
        applied = Applied(self._core.current.version, self._core.directory.revision)
        record = self.saw(intent)
        record = dataclasses.replace(record, applied={**record.applied, intent.id: applied})
        self._core.ledger.write(record)
        self._core.record = record
        return applied

    def commit(
        self,
        intent: Intent,
        changes: Mapping[str, Any],
        members: Sequence[Member],
        wanted: Mapping[int, int],
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
        core, crew, record = self._core, self._core.crew, self._core.record
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
