# SPDX-License-Identifier: Apache-2.0
"""Who clears up after a process that was killed."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import psutil

from sparkmodel.cluster import janitor
from tests.unit.pool.toys import eventually


def test_it_ends_what_names_the_directory_and_removes_it(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "sm-x"
    directory.mkdir()
    (directory / "file").touch()
    code = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100) # {directory}"
    stubborn = subprocess.Popen([sys.executable, "-c", code])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    watched = janitor.watch(directory)
    try:
        eventually(lambda: len(janitor.processes_of(directory)) == 2)  # the other one is the janitor
        assert directory.exists()
        watched.close()  # as the kernel does when the process that holds it ends
        eventually(lambda: not directory.exists(), 60)
        assert stubborn.wait(10) < 0
        assert other.poll() is None
        eventually(lambda: not janitor.processes_of(directory))
    finally:
        stubborn.kill()
        other.kill()
        for process in (stubborn, other):
            process.wait()


def test_it_is_nobodys_child(tmp_path: pathlib.Path) -> None:
    """Ray ends the children of its workers' processes when these end."""
    with janitor.watch(tmp_path):
        eventually(lambda: len(janitor.processes_of(tmp_path)) == 1)
        assert janitor.processes_of(tmp_path)[0] not in [child.pid for child in psutil.Process().children()]
