# SPDX-License-Identifier: Apache-2.0
"""What the next master of a pool must know: small, durable, replaced whole."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sparkmodel.pool.condemned import Dated
from sparkmodel.pool.generations import Generation
from sparkmodel.pool.intents import Applied
from sparkmodel.pool.launcher import Store
from sparkmodel.wire.directory import Revision

FORMAT = 1
NEVER = Revision()
_APPLIED, _ENTRIES, _GENERATIONS, _SHIPPED = 100, 100, 10, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Canary:
    """A version on trial.

    Attributes:
        version: Its number.
        traffic: Share of the queries that it gets.
        max_error_rate: Share of its batches that may fail before it is rolled back by itself; None is all.
        workers: How many it has.
    """

    version: int
    traffic: float
    max_error_rate: float | None
    workers: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One version in the history.

    Attributes:
        version: Its number.
        state: `serving`, `canary`, `old`, `failed`, `rolled back`.
        source, resolved: Where it comes from, as given and as settled.
        by, intent: Who made it, by which change.
        since, until: Seconds since 1970 from which it has this state; until when it served.
        note: What else is to be told, such as why it failed.
    """

    version: int
    state: str
    source: str
    resolved: str
    by: str
    intent: str
    since: float
    until: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """All that is decided about a pool.

    Attributes:
        incarnation: Of the master that wrote it.
        newest: The newest number that was given to a version.
        registration: Of the newest whole spec; see `Generation.registration`.
        generations: The versions that can be started, by number.
        primary: What new queries get; None before the first.
        previous: The primary before it.
        canary: The version on trial.
        keep: Time since 1970 until which queries that are held to an old version may keep it.
        entries: The history, oldest first.
        applied: What the latest intents have led to, by their ids.
        seen: A name that is followed, and what it was last seen to mean.
        changed, moved: Revision of the latest change, and of the latest to another version by somebody's own wish.
        counters: Of workers that have ended, by version.
        condemned: Batches that end their workers, each with the time since 1970 when that was found.
    """

    incarnation: int = 1
    newest: int = 0
    registration: int = 1
    generations: Mapping[int, Generation] = dataclasses.field(default_factory=dict)
    primary: int | None = None
    previous: int | None = None
    canary: Canary | None = None
    keep: Mapping[int, float] = dataclasses.field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    applied: Mapping[str, Applied] = dataclasses.field(default_factory=dict)
    seen: tuple[str, str] = ("", "")
    changed: Revision = NEVER
    moved: Revision = NEVER
    counters: Mapping[int, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    condemned: tuple[Dated, ...] = ()

    @property
    def current(self) -> Generation | None:
        """What new queries get."""
        return None if self.primary is None else self.generations[self.primary]

    @property
    def serving(self) -> tuple[int, ...]:
        """The versions that new queries may get."""
        canary = () if self.canary is None else (self.canary.version,)
        return canary if self.primary is None else (self.primary, *canary)

    def trimmed(self, living: Collection[int]) -> Record:
        """Without what is too old to go back to; versions with workers stay."""
        needed = {*living, *self.serving, self.previous}
        newest = sorted(self.generations, reverse=True)
        shipped = [version for version in newest if self.generations[version].payload]
        dropped = {*newest[_GENERATIONS:], *shipped[_SHIPPED:]} - needed
        return dataclasses.replace(
            self,
            generations={v: g for v, g in self.generations.items() if v not in dropped},
            keep={v: until for v, until in self.keep.items() if v not in dropped and v not in self.serving},
            entries=self.entries[-_ENTRIES:],
            applied=dict(list(self.applied.items())[-_APPLIED:]),
        )

    def payloads(self) -> set[str]:
        """Keys of what was shipped and may be needed."""
        return {generation.payload for generation in self.generations.values() if generation.payload}

    def to_bytes(self) -> bytes:
        """For a store."""
        return pickle.dumps({"format": FORMAT, "record": self})

    @staticmethod
    def from_bytes(data: bytes) -> Record:
        """What a master has written; a store lets nobody else write."""
        value: dict[str, Any] = pickle.loads(data)
        record: Record = value["record"]
        return record


class Ledger:
    """Writes the record: one write at a time, each whole.

    Args:
        store: Where to.
        counters: Gives the counters of ended workers, which go along.
        condemned: Gives the batches that end their workers, which go along too.
    """

    def __init__(
        self,
        store: Store,
        counters: Callable[[], Mapping[int, Mapping[str, Any]]],
        condemned: Callable[[], tuple[Dated, ...]],
    ) -> None:
        self._store, self._counters, self._condemned = store, counters, condemned
        self._lock = threading.Lock()
        self._written: Record | None = None

    def write(self, record: Record) -> None:
        """Make it durable. If that fails, it is not: what was written before is written again."""
        with self._lock:
            try:
                self._put(record)
            except BaseException:
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    if self._written is not None:
                        self._put(self._written)
                raise
            self._written = record

    def note(self, entries: tuple[Entry, ...]) -> None:
        """Have what goes along written anew, and what was said in the history since, nothing else."""
        with self._lock:
            if self._written is not None:
                known = {entry.version for entry in self._written.entries}
                fresh = tuple(entry for entry in entries if entry.version not in known and entry.state == "failed")
                self._written = dataclasses.replace(self._written, entries=(*self._written.entries, *fresh))
                self._put(self._written)

    def _put(self, record: Record) -> None:
        self._store.save(dataclasses.replace(record, counters=self._counters(), condemned=self._condemned()).to_bytes())
