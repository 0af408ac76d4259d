# SPDX-License-Identifier: Apache-2.0
"""What workers have done, by version; it never falls, though workers end."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sparkmodel.pool.ends import End
from sparkmodel.pool.launcher import Member
from sparkmodel.scoring.series import added
from sparkmodel.scoring.tally import WorkerStats

_NOW = {"queued": 0, "inside": 0, "oldest_wait_s": 0.0, "listed": False}  # nobody knows
_AT_THE_END = ("batches", "rows", "errors")
_OVER, _RESTARTS = 200, "restarts"
_CAUSE = "restarts by cause: "
_SERIES, _REFUSED = "series", "refused"
SUMS = (
    "loads",
    "batches",
    "rows",
    "errors",
    "calls",
    "rows_failed",
    "predict_s",
    "wait_s",
    "recorded",
    "record_dropped",
)


class Counters:
    """Reads workers, and keeps the sums of those that have ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: dict[int, dict[str, Any]] = {}
        self._seen: dict[int, tuple[Member, dict[str, Any]]] = {}  # by identity: members need not be hashable
        self._over: deque[Member] = deque(maxlen=_OVER)  # those that ended last

    def restore(self, ended: Mapping[int, Mapping[str, Any]]) -> None:
        """Go on from what another master has counted."""
        self._ended = {version: dict(sums) for version, sums in ended.items()}

    def ended(self) -> dict[int, dict[str, Any]]:
        """Of ended workers, by version."""
        with self._lock:
            return {version: dict(sums) for version, sums in self._ended.items()}

    def read(self, members: Sequence[Member]) -> list[dict[str, Any]]:
        """What each says now; empty for one that does not answer. At once, so that a slow one delays by itself only."""
        answers = at_once(lambda member: member.stats(), members)
        self.note(members, answers)
        return answers

    def shown(self, members: Sequence[Member]) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """For people: what each says now, or was last seen to say if it does not answer; and the sums of all ever."""
        answers = self.read(members)
        with self._lock:  # at once: a worker that ends meanwhile is counted neither twice nor not at all
            seen = [self._seen.get(id(member), (member, {}))[1] for member in members]
            all_seen = [stats for _, stats in self._seen.values()]  # of those that are about to end too
            sums = {key: sum(one.get(key, 0) for one in (*all_seen, *self._ended.values())) for key in SUMS}
        workers = [
            {**now, "answers": True} if now else {**_unknown(member.version), **last, **_NOW, "answers": False}
            for member, now, last in zip(members, answers, seen, strict=True)
        ]
        return workers, sums

    def note(self, members: Sequence[Member], answers: Sequence[dict[str, Any]]) -> None:
        """What each has said; one that said nothing goes on with what it said before."""
        with self._lock:
            for member, stats in zip(members, answers, strict=True):
                if stats and not any(member is gone for gone in self._over):  # it ended while it was asked
                    self._seen[id(member)] = (member, stats)

    def last(self, members: Iterable[Member]) -> list[dict[str, Any]]:
        """What each was last seen to say."""
        with self._lock:
            return [self._seen[id(member)][1] for member in members if id(member) in self._seen]

    def end(self, members: Sequence[Member], seen: End | None = None) -> None:
        """Workers have ended, or are about to: what they were last seen to have done stays, by whoever saw it last.

        Args:
            members: Which.
            seen: How they died; None for such as their pool ends.
        """
        with self._lock:
            for member in members:
                _, stats = self._seen.pop(id(member), (member, {}))
                self._over.append(member)
                for key in _AT_THE_END if seen is not None else ():
                    stats = {**stats, key: max(stats.get(key, 0), getattr(seen, key))}
                sums = self._ended.setdefault(member.version, {})
                for key in SUMS:
                    sums[key] = sums.get(key, 0) + stats.get(key, 0)
                _add_parts(sums, stats)
                if seen is not None:
                    sums[_RESTARTS] = sums.get(_RESTARTS, 0) + 1
                    cause = _CAUSE + seen.cause
                    sums[cause] = sums.get(cause, 0) + 1

    def done(self, version: int) -> dict[str, float]:
        """The sums of all workers that a version has had, as they were last seen."""
        with self._lock:  # at once: a worker that ends meanwhile is counted neither twice nor not at all
            seen = [stats for member, stats in self._seen.values() if member.version == version]
            return {key: sum(one.get(key, 0) for one in (*seen, self._ended.get(version, {}))) for key in SUMS}

    def figures(self) -> dict[int, dict[str, Any]]:
        """Of each version, its workers together: `series`, `refused` by condition, `restarts` by cause, `load_s`."""
        with self._lock:
            found: dict[int, dict[str, Any]] = {}
            for version, sums in self._ended.items():
                causes = {key.removeprefix(_CAUSE): n for key, n in sums.items() if key.startswith(_CAUSE)}
                found[version] = {_SERIES: {}, _REFUSED: {}, "restarts": causes, "load_s": 0.0}
                _add_parts(found[version], sums)
            for member, stats in self._seen.values():
                figures = found.setdefault(member.version, {_SERIES: {}, _REFUSED: {}, "restarts": {}, "load_s": 0.0})
                _add_parts(figures, stats)
                figures["load_s"] = max(figures["load_s"], stats.get("load_s", 0.0))
            return found

    @property
    def restarts(self) -> int:
        """Workers that died."""
        with self._lock:
            return sum(int(sums.get(_RESTARTS, 0)) for sums in self._ended.values())


def _add_parts(sums: dict[str, Any], stats: Mapping[str, Any]) -> None:
    """Add what is counted part by part. Neither is changed in its depth: others may hold it."""
    sums[_SERIES] = added((sums.get(_SERIES, {}), stats.get(_SERIES, {})))
    refused = dict(sums.get(_REFUSED, {}))
    for condition, count in stats.get(_REFUSED, {}).items():
        refused[condition] = refused.get(condition, 0) + count
    sums[_REFUSED] = refused


def _unknown(version: int) -> dict[str, Any]:
    return {**dataclasses.asdict(WorkerStats(version=version)), "pid": None}


def at_once(task: Any, members: Sequence[Member]) -> list[Any]:
    """Ask all members at the same time; the answers in their order."""
    if not members:
        return []
    with ThreadPoolExecutor(max_workers=len(members)) as threads:
        return list(threads.map(task, members))
