# SPDX-License-Identifier: Apache-2.0
"""What served when, and whose wish it was."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone
from typing import Any

from sparkmodel.pool.core import Core
from sparkmodel.pool.generations import Generation
from sparkmodel.pool.intents import Intent
from sparkmodel.pool.record import Entry
from sparkmodel.scoring.tally import summarize

Entries = tuple[Entry, ...]
_ROWS = ("rows", "batches", "errors")


def begun(entries: Entries, generation: Generation, intent: Intent, state: str, now: float, note: str = "") -> Entries:
    """With one more version."""
    source = generation.spec.source
    entry = Entry(
        version=generation.version,
        state=state,
        source=source.given,
        resolved=source.uri,
        by=intent.by,
        intent=intent.id,
        since=now,
        until=now if state == "failed" else None,
        note=note,
    )
    return (*entries, entry)


def turned(entries: Entries, version: int | None, state: str, now: float, note: str = "") -> Entries:
    """With another state of a version: one that serves again has no end any more."""
    is_over = state not in ("serving", "canary")

    def turn(entry: Entry) -> Entry:
        if entry.version != version:
            return entry
        return dataclasses.replace(
            entry,
            state=state,
            since=entry.since if is_over else now,
            until=now if is_over else None,
            note=note,
        )

    return tuple(map(turn, entries))


def told(core: Core) -> list[dict[str, Any]]:
    """The history, oldest first, with what each version has done until now."""
    with core.lock:
        members = [*core.crew.all(), *core.crew.ending]
    stats = core.crew.counters.read(members)
    directory, record = core.directory, core.record
    versions = []
    for entry in record.entries:
        own = [one for member, one in zip(members, stats, strict=True) if member.version == entry.version]
        sums = core.crew.counters.done(entry.version)
        served = directory.of(entry.version)
        generation = record.generations.get(entry.version)
        latency = summarize([dict(one) for one in own])["latency"]
        answered = sums["batches"] + sums["errors"]
        versions.append(
            {
                **dataclasses.asdict(entry),
                "since": _iso(entry.since),
                "until": None if entry.until is None else _iso(entry.until),
                "weight": served.weight if served else 0.0,
                "workers": len(own),
                **{key: sums[key] for key in _ROWS},
                "error_rate": sums["errors"] / answered if answered else None,
                "latency": {key: latency[key] for key in ("p50_s", "p95_s")},
                "digest": generation.described.digest if generation else None,
            }
        )
    return versions


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
