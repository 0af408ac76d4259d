# SPDX-License-Identifier: Apache-2.0
"""Temporary directories that do not outlive their process."""

from __future__ import annotations

import fcntl
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from sparkmodel.cluster import scratch
from sparkmodel.cluster.scratch import Scratch, sweep

OWNER = """
import pathlib, sys
from sparkmodel.cluster.scratch import Scratch
scratch = Scratch(pathlib.Path(sys.argv[1]))
(scratch.path / "big").write_text("x")
print(scratch.path, flush=True)
sys.stdin.readline()
"""

Owner = tuple["subprocess.Popen[str]", pathlib.Path]


@pytest.fixture
def start_owner(tmp_path: pathlib.Path) -> Iterator[Callable[[], Owner]]:
    """Starts processes that own a directory and wait for a line on stdin."""
    owners: list[subprocess.Popen[str]] = []

    def start() -> Owner:
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        owners.append(owner)
        assert owner.stdout is not None
        return owner, pathlib.Path(owner.stdout.readline().strip())

    yield start
    for owner in owners:
        owner.kill()
        owner.communicate()


def test_a_directory_is_private_short_and_under_its_root(tmp_path: pathlib.Path) -> None:
    owned = Scratch(tmp_path)
    assert owned.path.parent == tmp_path
    assert owned.path.stat().st_mode & 0o777 == 0o700
    assert len(owned.path.name) < 16
    owned.remove()


def test_the_owner_removes_it_with_what_is_in_it_and_twice_does_nothing(tmp_path: pathlib.Path) -> None:
    owned = Scratch(tmp_path)
    (owned.path / "deep" / "er").mkdir(parents=True)
    (owned.path / "deep" / "er" / "file").write_text("x")
    owned.remove()
    assert not owned.path.exists()
    owned.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_file_is_closed_with_it(tmp_path: pathlib.Path) -> None:
    owned = Scratch(tmp_path)
    owned.remove()
    for file in pathlib.Path("/proc/self/fd").iterdir():
        assert not (file.is_symlink() and str(file.readlink()).startswith(str(tmp_path)))


def test_a_directory_whose_owner_was_killed_is_swept_by_the_next_owner(
    tmp_path: pathlib.Path, start_owner: Callable[[], Owner]
) -> None:
    owner, path = start_owner()
    owner.kill()  # SIGKILL
    owner.wait(120)
    assert (path / "big").exists()
    following = Scratch(tmp_path)
    assert not path.exists()
    following.remove()


def test_a_directory_whose_owner_lives_is_left_alone(tmp_path: pathlib.Path, start_owner: Callable[[], Owner]) -> None:
    _, living = start_owner()
    owner, dead = start_owner()
    owner.kill()
    owner.wait(120)
    own = Scratch(tmp_path)
    sweep(tmp_path)
    assert (living / "big").exists()
    assert own.path.exists()
    assert not dead.exists()
    own.remove()


def test_a_directory_that_its_owner_forgot_is_swept_after_its_end(
    tmp_path: pathlib.Path, start_owner: Callable[[], Owner]
) -> None:
    owner, path = start_owner()
    owner.communicate("\n", timeout=120)
    assert owner.returncode == 0
    sweep(tmp_path)
    assert not path.exists()


def test_what_is_not_ours_is_left_alone(tmp_path: pathlib.Path) -> None:
    for name in ("sm-of-somebody", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / ".sparkmodel.lock").touch()
    (tmp_path / "sm-file").touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "sm-file", "sm-of-somebody"]


def test_a_directory_is_not_swept_while_it_is_being_made(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def sweep_first(file: int, operation: int) -> None:
        if not operation & fcntl.LOCK_NB:  # the new owner's own lock: another process sweeps just before
            sweep(tmp_path)
        flock(file, operation)

    monkeypatch.setattr(scratch.fcntl, "flock", sweep_first)
    owned = Scratch(tmp_path)
    assert owned.path.exists()
    owned.remove()
