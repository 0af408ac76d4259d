# SPDX-License-Identifier: Apache-2.0
"""What dead owners have left, and its removal."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Iterator

from sparkmodel.cluster import scratch
from sparkmodel.cluster.janitor import processes_of
from sparkmodel.doctor import facts
from sparkmodel.doctor.finding import OK, WARN, Finding
from sparkmodel.doctor.scene import Scene

_CLEAN = "run: sparkmodel doctor --clean"
_YOUNG_S = 5.0  # one that is just being made, or that its janitor is about to remove
_TWICE_S = 0.5


def check_directories(scene: Scene) -> Iterator[Finding]:
    """Directories whose owners have ended."""
    for place, seen in scene.machines():
        stale = [one["path"] for one in seen["scratch"] if not one["held"] and one["age_s"] > _YOUNG_S]
        for path in stale:
            yield Finding("directories", WARN, f"the owner of '{path}' has ended", _hint(scene, place), place)
        if not stale:
            yield Finding("directories", OK, f"{len(seen['scratch'])}, all of owners that live", place=place)


def check_processes(scene: Scene) -> Iterator[Finding]:
    """Processes whose directories were removed."""
    for place, seen in scene.machines():
        for one in seen["orphans"]:
            fact = f"process {one['pid']} ('{one['command']}') outlives its directory"
            yield Finding("processes", WARN, fact, _hint(scene, place), place)
        if not seen["orphans"]:
            yield Finding("processes", OK, "none that outlives its owner", place=place)


def check_graves(scene: Scene) -> Iterator[Finding]:
    """Names, actors and reservations on the cluster whose supervisors have ended for good."""
    for supervisor, left in scene.graves.items():
        fact = f"supervisor '{supervisor}' has ended, and left {', '.join(left)}"
        yield Finding("actors", WARN, fact, f"{_CLEAN} --address {scene.address}", "Ray")
    if scene.nodes and not scene.graves:
        yield Finding("actors", OK, "all names, actors and reservations are of supervisors that live", place="Ray")


def _hint(scene: Scene, place: str) -> str:
    return _CLEAN if place == "here" else f"{_CLEAN} on {dict(scene.places())[place]['host']}"


def clean_here(root: pathlib.Path = scratch.ROOT) -> list[str]:
    """Remove directories whose owners have surely ended, with what lives for them; returns what was done.

    An owner holds its lock until it ends, whatever way, so a lock that can be had has no owner; and it is held here
    while what is left is removed, so that nobody else becomes the owner meanwhile.
    """
    done = []
    for one in facts.scratch(str(root)):
        path = pathlib.Path(one["path"])
        if not one["held"] and one["age_s"] > _YOUNG_S and _removed(path):
            done.append(f"removed '{path}'")
    return done + _ended(str(root))


def _removed(path: pathlib.Path) -> bool:
    try:
        lock = os.open(path / scratch.LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # it has gone; without a lock, nobody can tell whose it is
        return False
    try:
        if not scratch.is_free(lock, path):
            return False
        for pid in processes_of(path):
            _kill(pid)
        scratch.remove(path)
        return True
    finally:
        os.close(lock)


def _ended(root: str) -> list[str]:
    """Processes that were there twice without their directory."""
    first = {one["pid"] for one in facts.orphans(root)}
    if not first:
        return []
    time.sleep(_TWICE_S)
    done = []
    for one in facts.orphans(root):
        if one["pid"] in first:
            _kill(one["pid"])
            done.append(f"ended process {one['pid']} ('{one['command']}')")
    return done


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):  # it has ended
        os.kill(pid, signal.SIGKILL)
