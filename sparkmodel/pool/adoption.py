# SPDX-License-Identifier: Apache-2.0
"""The next master takes over what a dead one has left: finishes what was recorded, undoes what was not."""

from __future__ import annotations

import dataclasses

from sparkmodel.pool.core import Core
from sparkmodel.pool.counters import at_once
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.record import Record
from sparkmodel.pool.sizes import clamp
from sparkmodel.wire.directory import Directory, Revision


def take_over(core: Core, data: bytes | None) -> bool:
    """Adopt the workers that serve; False, and nothing is left, if the pool never served.

    Args:
        core: The pool's state, as of a master that has done nothing.
        data: What the dead one has recorded.
    """
    members = core.launcher.adopt()
    record = Record() if data is None else Record.from_bytes(data)
    if record.primary is None:
        at_once(lambda member: member.close(0.0), members)
        core.launcher.sweep([])
        return False
    stats = core.crew.counters.read(members)
    incarnation = max([record.incarnation, *(int(one.get("incarnation", 0)) for one in stats)]) + 1
    record = dataclasses.replace(record, incarnation=incarnation, changed=Revision(incarnation))
    core.crew.counters.restore(record.counters)
    core.condemned.restore(record.condemned)
    core.ledger.write(record)  # before anybody hears of it: the next one is to be newer still
    core.step("adopting")
    core.record, core.directory = record, Directory(revision=Revision(incarnation))
    standing = {id(member): _standing(one) for member, one in zip(members, stats, strict=True)}
    ours = [
        member
        for member in sorted(members, key=lambda member: -standing[id(member)])
        # one that callers know of, or one that was recorded, and not published any more
        if member.version in (record.generations if standing[id(member)] else record.serving)
    ]
    strangers = [member for member in members if member not in ours]
    at_once(lambda member: member.close(0.0), strangers)
    core.crew.counters.end(strangers)
    leaving = _count_in(core, ours)
    core.launcher.sweep(core.crew.slots.all)
    _learn_leases(core)
    core.publish()
    core.step("adopted")
    core.end_later(leaving)
    return True


def _standing(stats: dict[str, object]) -> int:
    """2 for a worker that callers are sent to, 1 for one that they may know of, 0 for one that nobody knows."""
    return 2 if stats.get("listed") else int(bool(stats.get("incarnation")))


def _count_in(core: Core, members: list[Member]) -> list[Member]:
    """Count them in, those first that callers know of; those that are too many are to be ended."""
    record, crew = core.record, core.crew
    for member in members:
        crew.adopt(record.generations[member.version], member)
    leaving: list[Member] = []
    for version in record.serving:
        if record.canary is not None and version == record.canary.version:
            wanted = record.canary.workers
        else:
            wanted = clamp(len(crew.of(version)), core.current.spec.options.workers)
        crew.wanted[version] = wanted
        leaving += crew.leave(version, wanted)
    for version in crew.versions():
        if version not in record.serving:
            core.retire(version)
    return leaving


def _learn_leases(core: Core) -> None:
    members = core.crew.all()
    for member, held in zip(members, at_once(lambda member: member.leases(), members), strict=True):
        for query in sorted(held, key=lambda query: -held[query]):
            core.assignments.add(query, member.version)
