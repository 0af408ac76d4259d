# SPDX-License-Identifier: Apache-2.0
"""`python -m sparkmodel.cluster.template FD`: a process that has imported what workers need, and forks them.

A fork takes some milliseconds and shares the memory of all that was imported. It is sound as long as this process has
one thread: what would start another is not imported, or, where that shows only afterwards, ends this process.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import importlib
import os
import pathlib
import signal
import sys
import time
import warnings
from multiprocessing import reduction
from multiprocessing.connection import Connection

from setproctitle import setproctitle

from sparkmodel.cluster import child
from sparkmodel.cluster.reaper import Reaper

# jemalloc, which pyarrow brings, stops and restarts its thread around a fork
_HARMLESS = {"jemalloc_bg_thd"}
_YIELD_S = 0.1


def main() -> None:
    """Import, and fork when asked, until the other end is closed."""
    connection = Connection(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    settings = connection.recv()
    sys.path[:] = settings["path"]
    setproctitle(f"sparkmodel spare {settings['root']}")
    for name, value in settings["environment"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for name in settings["modules"]:
        _import(name)
    reaper = Reaper(pathlib.Path(settings["root"]))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    try:
        _Template(connection, settings["root"], reaper, settings["patience_s"]).run()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        connection.close()
        reaper.become()


class _Template:
    def __init__(self, connection: Connection, root: str, reaper: Reaper, patience_s: float) -> None:
        self._connection, self._root, self._reaper, self._patience_s = connection, root, reaper, patience_s
        self._wanted: collections.deque[str] = collections.deque()
        self._told = False
        self._patience = 0.0

    def run(self) -> None:
        gc.disable()
        while True:
            if not self._told and not self._wanted:
                if _threads() > 1:
                    return
                gc.collect()
                gc.freeze()
                self._tell("ready", len(sys.modules))
                self._told = True
            try:
                if not self._wanted or self._connection.poll(0):
                    self._obey(*self._connection.recv())
                    continue
            except (EOFError, OSError):
                return
            if _is_busy() and time.monotonic() < self._patience:
                self._connection.poll(_YIELD_S)
                continue
            name = self._wanted.popleft()
            _import(name)
            if _threads() > 1:
                self._tell("threads", name.partition(".")[0])
                return

    def _obey(self, command: str, *arguments: object) -> None:
        if command == "fork":
            self._fork(reduction.recv_handle(self._connection))
        elif command == "import":
            names = [str(name) for name in arguments if str(name) not in sys.modules]
            self._wanted.extend(names)
            self._told = self._told and not names
            self._patience = time.monotonic() + self._patience_s

    def _fork(self, fd: int) -> None:
        pid = os.fork()
        if pid:
            os.close(fd)
            self._reaper.note(pid)
            return
        self._connection.close()
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        setproctitle(f"sparkmodel worker {self._root}")
        gc.enable()
        try:
            child.serve(Connection(fd))
        finally:
            os._exit(1)

    def _tell(self, *message: object) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(message)


def _import(name: str) -> None:
    with contextlib.suppress(BaseException):  # a model imported it, but some can be imported from one place only
        importlib.import_module(name)


def _is_busy() -> bool:
    """Whether more processes want a core than there are cores."""
    try:
        running = int(pathlib.Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return False
    return running > (os.cpu_count() or 1)


def _threads() -> int:
    names = []
    for task in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            names.append((task / "comm").read_text().strip())
    return sum(name not in _HARMLESS for name in names)


if __name__ == "__main__":
    main()
