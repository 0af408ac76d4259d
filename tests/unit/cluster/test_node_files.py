# SPDX-License-Identifier: Apache-2.0
"""A directory that processes share: filled once, removed with the last user, whoever is killed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from sparkmodel.cluster.node_files import NodeFiles
from sparkmodel.cluster.scratch import Scratch
from sparkmodel.errors import ModelLoadError

# fills slowly if told to, says what it does, and holds its share until it is told to go
USER = """
import os, pathlib, sys
from sparkmodel.cluster.node_files import NodeFiles
root, how = pathlib.Path(sys.argv[1]), sys.argv[2]

def fill(target):
    print("filling", flush=True)
    (target / "half").write_text("x")
    if how == "stuck":
        sys.stdin.readline()
    if how == "broken":
        raise ValueError("no model")
    (target / "model").write_text(str(os.getpid()))

try:
    files = NodeFiles(root, "key", fill)
except ValueError as error:
    print("failed:", error, flush=True)
    sys.exit()
print("using", (files.path / "model").read_text(), flush=True)
sys.stdin.readline()
assert (files.path / "model").exists()
files.release()
print("released", flush=True)
"""


class User:
    """One process with a share."""

    def __init__(self, root: pathlib.Path, how: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(root), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self.read, self._stdin = self.process.stdout.readline, self.process.stdin

    def until_using(self) -> tuple[bool, str]:
        """Whether it filled the directory, and who did."""
        filled, line = False, self.read().strip()
        while line == "filling":
            filled, line = True, self.read().strip()
        verb, pid = line.split()
        assert verb == "using"
        return filled, pid

    def go_on(self) -> None:
        self._stdin.write("\n")
        self._stdin.flush()

    def release(self) -> None:
        self.go_on()
        assert self.read().strip() == "released"
        assert self.process.wait(120) == 0

    def kill(self) -> None:
        self.process.kill()  # SIGKILL
        self.process.wait(120)

    def has_lock_open(self) -> bool:
        """Whether it has come as far as the lock of the shared directory."""
        return any(
            file.path.endswith("-key/.sparkmodel.lock") for file in psutil.Process(self.process.pid).open_files()
        )


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Callable[..., User]]:
    """Starts users of one directory."""
    users: list[User] = []

    def start_(how: str = "") -> User:
        users.append(User(tmp_path, how))
        return users[-1]

    yield start_
    for user in users:
        user.process.kill()
        user.process.communicate()


def content(root: pathlib.Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def shared(root: pathlib.Path) -> list[str]:
    """Whatever has the name that is shared."""
    return [name for name in content(root) if name.endswith("-key")]


def write(target: pathlib.Path) -> None:
    (target / "model").write_text("x")


def test_of_many_at_once_one_fills_and_all_use_it_and_the_last_removes_it(
    tmp_path: pathlib.Path, start: Callable[..., User]
) -> None:
    users = [start() for _ in range(4)]
    seen = [user.until_using() for user in users]
    assert sum(filled for filled, _ in seen) == 1
    assert len({pid for _, pid in seen}) == 1
    for user in users:
        assert len(content(tmp_path)) == 1
        user.release()
    assert content(tmp_path) == []


def test_all_who_leave_at_once_leave_nothing(tmp_path: pathlib.Path, start: Callable[..., User]) -> None:
    for _ in range(3):
        users = [start() for _ in range(4)]
        for user in users:
            user.until_using()
        for user in users:
            user.go_on()
        for user in users:
            assert user.process.wait(120) == 0
        assert content(tmp_path) == []


def test_those_who_come_while_it_is_filled_wait_for_it(tmp_path: pathlib.Path, start: Callable[..., User]) -> None:
    filler = start("stuck")
    assert filler.read() == "filling\n"
    late = start()
    wait_for_lock(late)
    filler.go_on()
    assert late.until_using() == (False, str(filler.process.pid))
    assert filler.until_using() == (False, str(filler.process.pid))
    filler.release()
    late.release()
    assert content(tmp_path) == []


def test_a_filler_that_is_killed_is_followed_by_exactly_one_other(
    tmp_path: pathlib.Path, start: Callable[..., User]
) -> None:
    filler = start("stuck")
    assert filler.read() == "filling\n"
    others = [start() for _ in range(3)]
    for other in others:
        wait_for_lock(other)
    filler.kill()
    seen = [other.until_using() for other in others]
    assert sum(filled for filled, _ in seen) == 1
    assert len({pid for _, pid in seen}) == 1
    for other in others:
        other.release()
    assert content(tmp_path) == []


def test_what_a_killed_filler_left_does_not_get_into_the_next_ones_directory(
    tmp_path: pathlib.Path, start: Callable[..., User]
) -> None:
    filler = start("stuck")
    assert filler.read() == "filling\n"
    filler.kill()
    assert len(shared(tmp_path)) == 1
    files = NodeFiles(tmp_path, "key", write)
    assert content(files.path) == ["model"]
    files.release()
    assert content(tmp_path) == []


def test_a_user_that_is_killed_keeps_nobody_from_removing_it(
    tmp_path: pathlib.Path, start: Callable[..., User]
) -> None:
    first, second = start(), start()
    first.until_using()
    second.until_using()
    first.kill()
    assert len(shared(tmp_path)) == 1
    second.release()
    assert content(tmp_path) == []


def test_what_the_last_user_left_because_it_was_killed_is_swept(
    tmp_path: pathlib.Path, start: Callable[..., User]
) -> None:
    user = start()
    user.until_using()
    other = Scratch(tmp_path)
    assert len(shared(tmp_path)) == 1, "a directory in use is not swept"
    user.kill()
    Scratch(tmp_path).remove()
    assert shared(tmp_path) == []
    other.remove()


@pytest.mark.fault("F17")
def test_those_who_waited_for_a_filler_that_fails_try_for_themselves(
    tmp_path: pathlib.Path, start: Callable[..., User]
) -> None:
    filler = start("stuck")
    assert filler.read() == "filling\n"
    others = [start("broken"), start("broken")]
    for other in others:
        wait_for_lock(other)
    filler.kill()
    for other in others:
        assert other.read() == "filling\n"
        assert other.read() == "failed: no model\n"
    for other in others:
        other.process.wait(120)
    assert content(tmp_path) == []


def test_one_process_can_have_several_shares(tmp_path: pathlib.Path) -> None:
    first, second = NodeFiles(tmp_path, "key", write), NodeFiles(tmp_path, "key", write)
    other = NodeFiles(tmp_path, "other", write)
    assert first.path == second.path != other.path
    first.release()
    first.release()
    assert (second.path / "model").exists()
    second.release()
    other.release()
    assert content(tmp_path) == []


def test_nobody_else_can_look_into_it(tmp_path: pathlib.Path) -> None:
    files = NodeFiles(tmp_path, "key", write)
    assert files.path.parent.stat().st_mode & 0o777 == 0o700
    files.release()


def test_a_directory_that_another_user_put_there_is_not_used(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a shared /tmp, where anyone can take a name that is known beforehand."""
    mine = os.getuid()
    planted = tmp_path / f"sm-{mine + 1}-key"
    planted.mkdir()
    (planted / ".sparkmodel.lock").touch()
    (planted / ".filled").touch()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.raises(ModelLoadError, match="another user owns it"):
        NodeFiles(tmp_path, "key", write)
    assert planted.exists()


def wait_for_lock(user: User) -> None:
    deadline = time.monotonic() + 30
    while not user.has_lock_open():
        assert time.monotonic() < deadline
        time.sleep(0.01)
