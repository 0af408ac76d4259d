# SPDX-License-Identifier: Apache-2.0
"""Owners that were killed, and what is removed of them: nothing of one that lives."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from sparkmodel.cluster.scratch import Scratch
from sparkmodel.doctor import facts
from sparkmodel.doctor.finding import OK, WARN
from sparkmodel.doctor.leftovers import check_directories, check_graves, check_processes, clean_here
from sparkmodel.doctor.scene import Scene
from tests.unit.wire.toys import wait_until

OWNER = """
import os, pathlib, subprocess, sys, time
from sparkmodel.cluster.scratch import Scratch
made = Scratch(pathlib.Path(sys.argv[1]))
named = f"sparkmodel worker {made.path}"
child = subprocess.Popen([named, "-c", "import time; time.sleep(600)"], executable=sys.executable)
print(made.path, child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def killed(tmp_path: pathlib.Path) -> Iterator[tuple[pathlib.Path, psutil.Process]]:
    """The directory of an owner that was killed, and the process that lives for it."""
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        path, pid = owner.stdout.readline().split()
        owner.kill()
    child = psutil.Process(int(pid))
    # who starts a process goes on a moment before the system can tell what that one was called with
    wait_until(lambda: bool(child.cmdline()), "it has a name")
    os.utime(path, (0, 0))
    yield pathlib.Path(path), child
    if child.is_running():
        child.kill()


def test_what_a_killed_owner_left_is_told_and_removed(
    scene: Callable[..., Scene], killed: tuple[pathlib.Path, psutil.Process], tmp_path: pathlib.Path
) -> None:
    path, child = killed
    # made in another place: making one sweeps its own
    living = Scratch(tmp_path / "other" if (tmp_path / "other").mkdir() is None else tmp_path)
    os.utime(living.path, (0, 0))
    (dead,) = check_directories(scene({"scratch": facts.scratch(str(tmp_path))}))
    assert (dead.status, str(path) in dead.fact, "--clean" in dead.hint) == (WARN, True, True)
    (fine,) = check_directories(scene({"scratch": facts.scratch(str(tmp_path / "other"))}))
    assert fine.status == OK
    assert clean_here(tmp_path / "other") == []
    assert living.path.exists()
    assert clean_here(tmp_path) == [f"removed '{path}'"]
    assert not path.exists()
    assert child.wait(10) is None or not child.is_running()
    assert clean_here(tmp_path) == []
    living.remove()


def test_a_directory_that_was_just_left_is_its_janitors(
    killed: tuple[pathlib.Path, psutil.Process], tmp_path: pathlib.Path
) -> None:
    path, child = killed
    os.utime(path)
    assert clean_here(tmp_path) == []
    assert path.exists()
    assert child.is_running()


def test_a_process_that_outlives_its_directory(
    scene: Callable[..., Scene], killed: tuple[pathlib.Path, psutil.Process], tmp_path: pathlib.Path
) -> None:
    path, child = killed
    path.rename(tmp_path / "moved")
    (found,) = check_processes(scene({"orphans": facts.orphans(str(tmp_path))}))
    assert (found.status, str(child.pid) in found.fact) == (WARN, True)
    assert clean_here(tmp_path) == [f"ended process {child.pid} ('{facts_line(found.fact)}')"]
    assert child.wait(10) is None or not child.is_running()


def facts_line(fact: str) -> str:
    return fact.split("('", 1)[1].rsplit("')", 1)[0]


def test_graves_on_the_cluster(scene: Callable[..., Scene], facts_of: Callable[..., dict[str, Any]]) -> None:
    seen = scene(address="h:1", nodes={"node": facts_of()}, graves={"sparkmodel-bound-1": ["the name 'f'", "2 actors"]})
    (found,) = check_graves(seen)
    assert (found.status, found.hint) == (WARN, "run: sparkmodel doctor --clean --address h:1")
    seen.graves = {}
    assert [finding.status for finding in check_graves(seen)] == [OK]


def test_what_is_on_one_machine_is_told_once(
    scene: Callable[..., Scene], facts_of: Callable[..., dict[str, Any]]
) -> None:
    orphan = {"pid": 7, "command": "sparkmodel worker", "directory": "/tmp/sm-x"}
    others = {"executor": facts_of(orphans=[orphan]), "node": facts_of(orphans=[orphan], machine="two")}
    found = list(check_processes(scene({"orphans": [orphan]}, executors=others)))
    assert [(finding.place, finding.status) for finding in found] == [("here", WARN), ("node", WARN)]
