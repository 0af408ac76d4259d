# SPDX-License-Identifier: Apache-2.0
"""A forked process becomes a worker: it does what the process that holds the other end of a socket asks."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import sys
import sysconfig
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from sparkmodel.errors import PoolNotReadyError, SparkModelError

_OOM_SCORE = 500  # where memory runs out, the system ends a worker, which is replaced, before its host


def serve(connection: Connection) -> None:
    """Answer requests until the other end is closed, by whatever end of its process. Does not return.

    A request is (number, method, arguments), an answer (number, what `answers.unwrap` takes). The first request is
    `start`; bytes follow it as a message of their own if its last argument says so.
    """
    _be_different()
    connection.send(os.getpid())
    child = _Child(connection)
    try:
        while True:
            number, method, arguments = connection.recv()
            if method == "start":
                seat, directory, has_data = arguments
                arguments = (seat, connection.recv_bytes() if has_data else None, directory)
            threading.Thread(target=child.answer, args=(number, method, arguments), daemon=True).start()
    except (EOFError, OSError):
        child.end()


class _Child:
    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._known = set(sys.modules)
        self._process: Any = None

    def answer(self, number: int, method: str, arguments: tuple[Any, ...]) -> None:
        try:
            answer = {"value": getattr(self, method)(*arguments)}
        except SparkModelError as error:
            answer = {"error": error.to_dict()}
        except BaseException as error:  # of our own code: a model's errors have their conditions already
            fact = f"its process raised {type(error).__name__}: {error}"
            answer = {"error": PoolNotReadyError("Cannot use a worker", fact, "", traceback.format_exc()).to_dict()}
        try:
            with self._lock:
                self._connection.send((number, answer))
        except OSError:  # nobody is there any more
            self.end()

    def start(self, seat: Any, data: bytes | None, directory: pathlib.Path | None) -> Any:
        from sparkmodel.cluster.worker_process import WorkerProcess

        self._process = WorkerProcess(seat)
        return self._process.start(None if data is None else memoryview(data), directory)

    def modules(self) -> list[str]:
        """What was imported here from installed packages, in that order; other code may change between two models."""
        homes = tuple(sysconfig.get_paths()[kind] + os.sep for kind in ("purelib", "platlib"))
        fresh = {name: module for name, module in list(sys.modules.items()) if name not in self._known}
        return [name for name, module in fresh.items() if str(getattr(module, "__file__", "")).startswith(homes)]

    def publish(self, directory: Any) -> None:
        self._process.publish(directory)

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self._process.stats()
        return stats

    def close(self, drain_s: float) -> None:
        if self._process is not None:
            self._process.close(drain_s)

    def end(self) -> None:
        if self._process is not None:
            self._process.end(0)
        os._exit(0)


def _be_different() -> None:
    """What a fork must not share with its siblings."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    with contextlib.suppress(OSError):  # not allowed here: then it is one among equals
        pathlib.Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
