# SPDX-License-Identifier: Apache-2.0
"""Which processes a pool has, known also while its supervisor is away, and what a process takes."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator

import psutil

import sparkmodel as sm
from sparkmodel.errors import SparkModelError
from tests.endurance.deaths import supervisors


class Watch:
    """Asks a pool every second; its last answer stands until the next one.

    Attributes:
        seen: Every worker that was ever told of, by its process ID.
    """

    def __init__(self, model: sm.Model) -> None:
        self.seen: dict[int, psutil.Process] = {}
        self._model, self._done = model, threading.Event()
        self._now: list[int] = []
        self._look()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def workers(self) -> list[int]:
        """The process IDs of those that live, in order."""
        return sorted(pid for pid in self._now if is_alive(self.seen[pid]))

    def is_whole(self, count: int) -> bool:
        """Whether so many serve, as the pool says now."""
        self._look()
        try:
            stats = self._model.stats()
        except SparkModelError:
            return False
        return stats["state"] == "ready" and len(self.workers()) >= count

    def left(self, timeout_s: float = 60.0) -> list[int]:
        """Those that live although the pool has ended, after some time to end."""
        deadline = time.monotonic() + timeout_s
        while (alive := sorted(pid for pid, process in self.seen.items() if is_alive(process))) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.2)
        return alive

    def close(self) -> None:
        """Ask no more."""
        self._done.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._done.wait(1.0):
            self._look()

    def _look(self) -> None:
        try:
            told = [worker["pid"] for worker in self._model.stats()["workers"] if worker.get("pid")]
        except SparkModelError:  # its supervisor is away
            return
        for pid in told:
            if pid not in self.seen:
                try:
                    self.seen[pid] = psutil.Process(pid)
                except psutil.Error:
                    continue
        self._now = [pid for pid in told if pid in self.seen]


def is_alive(process: psutil.Process) -> bool:
    """Whether it is the one that it was, and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def executors() -> list[int]:
    """The processes of Spark's executors, where they are not the driver's own."""
    return sorted(
        process.pid
        for process in psutil.Process().children(recursive=True)
        if "CoarseGrainedExecutorBackend" in _line(process)
    )


def java() -> psutil.Process:
    """The driver's JVM."""
    return next(process for process in psutil.Process().children() if "java" in _line(process).partition(" ")[0])


def supervisor() -> psutil.Process:
    """The supervisor of this session's pools."""
    return next(supervisors())


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a process takes at a moment: MiB, and how many of each."""

    mib: float
    descriptors: int
    threads: int
    connections: int

    @classmethod
    def of(cls, process: psutil.Process) -> Taken:
        """Now."""
        sockets = [found for found in process.net_connections("tcp") if found.status != psutil.CONN_LISTEN]
        return cls(process.memory_info().rss / (1 << 20), process.num_fds(), process.num_threads(), len(sockets))

    def __iter__(self) -> Iterator[float]:
        return iter((self.mib, self.descriptors, self.threads, self.connections))
