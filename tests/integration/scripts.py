# SPDX-License-Identifier: Apache-2.0
"""Runs a driver program in a process of its own, and looks at what it leaves behind."""

from __future__ import annotations

import fcntl
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping

import psutil

from sparkmodel.cluster.scratch import LOCK
from sparkmodel.cluster.scratch import ROOT as SCRATCH

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE_S = 300.0  # for what must happen; long, for a machine that is busy elsewhere: only a test that fails waits


class Script:
    """A driver program under way.

    Args:
        code: Its Python code.
        cwd: Where it runs.
        env: Variables on top of this process's; None as a value takes one away.
        python: The interpreter; this process's by default.
    """

    def __init__(
        self, code: str, cwd: pathlib.Path, env: Mapping[str, str | None] | None = None, python: str = sys.executable
    ) -> None:
        path = cwd / "driver.py"
        path.write_text(textwrap.dedent(code))
        merged = {**os.environ, "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1", **(env or {})}
        merged.pop("PYSPARK_PYTHON", None) if "PYSPARK_PYTHON" not in (env or {}) else None
        self.tag = f"{os.getpid()}-{time.monotonic_ns()}"
        merged["SPARKMODEL_TEST_TAG"] = self.tag
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(path)],
            cwd=cwd,
            env={key: value for key, value in merged.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, seconds: float = 2 * PATIENCE_S) -> str:
        """Wait for its end; returns what it printed. Fails if it failed."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"not finished within {seconds} s:\n{out}\n{err[-5000:]}") from None
        assert self.process.returncode == 0, f"exit {self.process.returncode}:\n{out}\n{err[-5000:]}"
        return out

    def read_until(self, line: str) -> None:
        """Read its output up to a line."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            if text.strip() == line:
                return
        raise AssertionError(f"it ended without '{line}': {self.process.stderr.read()[-5000:]}")  # type: ignore[union-attr]

    def kill(self) -> None:
        """End it and all its descendants at once."""
        for process in [*self.descendants()]:
            with_suppress(process.kill)
        with_suppress(lambda: os.killpg(self.process.pid, signal.SIGKILL))

    def descendants(self) -> list[psutil.Process]:
        """Processes that inherited this program's environment, its own included."""
        return tagged(self.tag)


def tagged(tag: str) -> list[psutil.Process]:
    """Processes that inherited an environment with this tag."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SPARKMODEL_TEST_TAG") == tag and process.status() != "zombie":
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def command_line(process: psutil.Process) -> list[str]:
    """The command line of a process; nothing if it has ended, be it since it was found."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def with_suppress(action: Callable[[], object]) -> None:
    """Do it if there is still something to do it to."""
    try:
        action()
    except (psutil.NoSuchProcess, ProcessLookupError):
        return


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections on this port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def scratch_directories() -> set[str]:
    """Directories of ours under /tmp."""
    return {str(path) for path in pathlib.Path("/tmp").glob("sm-*")}


def assert_nothing_left(script: Script, before: set[str]) -> None:
    """No process of the program lives, and of its directories none that was not there before."""
    wait_until(lambda: not script.descendants())
    wait_until(lambda: scratch_directories() <= before | other_scratch())


def other_scratch() -> set[str]:
    """Directories whose owner lives: other tests run at the same time."""
    return {str(lock.parent) for lock in SCRATCH.glob(f"sm-*/{LOCK}") if not is_free(lock)}


def is_free(lock: pathlib.Path) -> bool:
    """Whether no process holds the lock."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:  # removed meanwhile
        return True
    return True


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes with all that they have started."""
    for process in processes:
        for child in psutil.Process(process.pid).children(recursive=True):
            with_suppress(child.kill)
        process.kill()
        process.wait()
