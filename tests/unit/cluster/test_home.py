# SPDX-License-Identifier: Apache-2.0
"""A directory that one process after the other owns, and that goes when none comes."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from sparkmodel.cluster import janitor
from sparkmodel.cluster.home import Home
from sparkmodel.cluster.scratch import sweep
from sparkmodel.errors import PoolNotReadyError
from tests.unit.pool.toys import eventually

OWNER = """
import pathlib, sys
from sparkmodel.cluster.home import Home
home = Home("home", float(sys.argv[2]), pathlib.Path(sys.argv[1]))
print(home.path, flush=True)
sys.stdin.readline()
home.remove()
"""

Start = Callable[[float], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Start]:
    """Starts processes that own the directory until they are told to remove it."""
    owners: list[subprocess.Popen[str]] = []

    def start_(orphan_s: float) -> subprocess.Popen[str]:
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(tmp_path), str(orphan_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        owners.append(owner)
        assert owner.stdout is not None
        assert owner.stdout.readline().strip() == str(tmp_path / "sm-home")
        return owner

    yield start_
    for owner in owners:
        owner.kill()
        owner.communicate()
    for pid in janitor.processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def test_the_next_owner_finds_what_a_killed_one_had(tmp_path: pathlib.Path, start: Start) -> None:
    owner = start(300.0)
    (tmp_path / "sm-home" / "file").write_text("x")
    owner.kill()
    owner.wait(60)
    sweep(tmp_path)
    assert (tmp_path / "sm-home" / "file").exists(), "a directory that waits for its next owner is not swept"
    start(300.0)
    assert (tmp_path / "sm-home" / "file").exists()
    assert len(janitor.processes_of(tmp_path / "sm-home")) == 1
    assert (tmp_path / "sm-home").stat().st_mode & 0o777 == 0o700


def test_it_goes_when_nobody_comes(tmp_path: pathlib.Path, start: Start) -> None:
    owner = start(0.2)
    owner.kill()
    owner.wait(60)
    eventually(lambda: not (tmp_path / "sm-home").exists(), 60)
    eventually(lambda: not janitor.processes_of(tmp_path), 60)
    start(0.2)
    assert (tmp_path / "sm-home").exists(), "then it is made anew"


def test_its_owner_removes_it(tmp_path: pathlib.Path, start: Start) -> None:
    owner = start(300.0)
    owner.communicate("\n", timeout=60)
    assert list(tmp_path.iterdir()) == []
    eventually(lambda: not janitor.processes_of(tmp_path), 60)


def test_it_is_taken_over_though_its_janitor_was_killed(tmp_path: pathlib.Path, start: Start) -> None:
    owner = start(300.0)
    (tmp_path / "sm-home" / "file").write_text("x")
    for pid in janitor.processes_of(tmp_path / "sm-home"):
        os.kill(pid, signal.SIGKILL)
    owner.kill()
    owner.wait(60)
    start(300.0)
    assert (tmp_path / "sm-home" / "file").exists()


def test_nobody_elses_is_taken(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getuid()
    (tmp_path / "sm-home").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.raises(PoolNotReadyError, match="another user owns it"):
        Home("home", 1.0, tmp_path)
