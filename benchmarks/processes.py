# SPDX-License-Identifier: Apache-2.0
"""The processes of a benchmark: which there are, the memory that they hold, and when they are at rest."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

import psutil

MB = 1e6
_MARK = "SPARKMODEL_BENCH_MARK"
_CHILD_S = 600.0
REST_S = 30.0
_LOOK_S = 1.0
_REST_CPU = 0.2  # share of one core; Ray and Spark are never quite still


@dataclasses.dataclass(frozen=True)
class Memory:
    """Megabytes of some processes.

    Attributes:
        uss: What only one process has: it would be free if that ended.
        pss: What they have, with each page that several share counted once in all of them together.
    """

    uss: float
    pss: float

    def __sub__(self, other: Memory) -> Memory:
        return Memory(self.uss - other.uss, self.pss - other.pss)


def mark() -> None:
    """Let all that this process starts from now on be known by its environment.

    A process whose parent has ended is nobody's descendant, and counts as well.
    """
    os.environ[_MARK] = f"{os.getpid()}-{time.monotonic_ns()}"


def family() -> list[psutil.Process]:
    """This process and, from `mark` on, all that it has started, directly or not."""
    found = {process.pid: process for process in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(_MARK) == os.environ[_MARK]:
                found[process.pid] = process
    found[os.getpid()] = psutil.Process()
    return list(found.values())


def memory(processes: Iterable[psutil.Process]) -> Memory:
    """Memory of processes, all together; those that have ended have none."""
    uss = pss = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            info = process.memory_full_info()
            uss += info.uss
            pss += getattr(info, "pss", info.uss)  # only Linux knows it
    return Memory(uss / MB, pss / MB)


def rest(most_s: float = REST_S) -> None:
    """Wait until what goes on in the background is over, so that it does not run on another contender's clock.

    Args:
        most_s: Longest wait; what has not ended by then goes on.
    """
    deadline = time.monotonic() + most_s
    before = _cpu_seconds() if most_s else {}
    while time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        now = _cpu_seconds()
        if sum(seconds - before.get(pid, 0.0) for pid, seconds in now.items()) < _REST_CPU * _LOOK_S:
            return
        before = now


def child(module: str, *arguments: str) -> Any:
    """Run a module of this package in a process of its own; what it prints last, read as JSON.

    It has a session of its own, and only the MLflow store in common with this process.
    """
    import mlflow  # here, not above: a child imports this module too, and only what its contender needs

    env = {key: value for key, value in os.environ.items() if key != "SPARKMODEL_CONTROL"}
    env |= {"PYSPARK_PYTHON": sys.executable, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    command = [sys.executable, "-W", "ignore", "-m", f"{__package__}.{module}", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_CHILD_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} {arguments[0]} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _cpu_seconds() -> dict[int, float]:
    seconds = {}
    for process in family():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds[process.pid] = times.user + times.system
    return seconds
