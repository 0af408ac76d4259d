# SPDX-License-Identifier: Apache-2.0
"""A forked process becomes a worker: it does what the process that holds the other end of a socket asks.

That process may die. A worker that serves goes on then, and waits at a socket of its own for the next one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import random
import socket
import sys
import sysconfig
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from sparkmodel.cluster import sockets
from sparkmodel.errors import PoolNotReadyError, SparkModelError

_OOM_SCORE = 500  # where memory runs out, the system ends a worker, which is replaced, before its host


def serve(connection: Connection) -> None:
    """Answer requests until nobody comes any more for what serves, or at once if nothing does. Does not return.

    A request is (number, method, arguments), an answer (number, what `answers.unwrap` takes). The first request is
    `start`; bytes follow it as a message of their own if its last argument says so.
    """
    _be_different()
    connection.send(os.getpid())
    child = _Child()
    following: Connection | None = connection
    while following is not None:
        child.obey(following)
        following = child.wait_for_next()
    child.end()


class _Child:
    def __init__(self) -> None:
        self._known = set(sys.modules)
        self._process: Any = None
        self._seat: Any = None
        self._started: Any = None  # once it serves
        self._door: socket.socket | None = None
        self._closing, self._closed = threading.Event(), threading.Event()

    def obey(self, connection: Connection) -> None:
        """Do what is asked, until the other end is closed, by whatever end of its process."""
        lock = threading.Lock()
        with contextlib.suppress(EOFError, OSError), connection:
            while True:
                number, method, arguments = connection.recv()
                if method == "start":
                    seat, directory, has_data = arguments
                    arguments = (seat, connection.recv_bytes() if has_data else None, directory)
                asked = (connection, lock, number, method, arguments)
                threading.Thread(target=self._answer, args=asked, daemon=True).start()

    def wait_for_next(self) -> Connection | None:
        """The next one who asks, if this is a worker that serves, and somebody comes in time."""
        if self._door is None:
            return None
        if self._closing.is_set():
            self._closed.wait()
            return None
        # callers go on meanwhile
        found = sockets.accept(self._door, self._seat.orphan_s)
        return None if found is None else Connection(found.detach())

    def _answer(
        self, connection: Connection, lock: threading.Lock, number: int, method: str, arguments: tuple[Any, ...]
    ) -> None:
        try:
            answer = {"value": getattr(self, method)(*arguments)}
        except SparkModelError as error:
            answer = {"error": error.to_dict()}
        except BaseException as error:  # of our own code: a model's errors have their conditions already
            fact = f"its process raised {type(error).__name__}: {error}"
            answer = {"error": PoolNotReadyError("Cannot use a worker", fact, "", traceback.format_exc()).to_dict()}
        with contextlib.suppress(OSError), lock:  # whoever asked has gone
            connection.send((number, answer))

    def start(self, seat: Any, data: bytes | None, directory: pathlib.Path | None) -> Any:
        from sparkmodel.cluster.worker_process import WorkerProcess

        self._seat = seat
        self._process = WorkerProcess(seat)
        self._started = self._process.start(None if data is None else memoryview(data), directory)
        if seat.key:
            self._door = sockets.listen(seat.root, door_of(seat.key))
        return self._started

    def tell(self) -> Any:
        """Who it is: the seat and what it told when it had started; None if it is about to end."""
        if self._closing.is_set():
            return None
        return dataclasses.replace(self._seat, spec=self._process.spec), self._started

    def modules(self) -> list[str]:
        """What was imported here from installed packages, in that order; other code may change between two models."""
        homes = tuple(sysconfig.get_paths()[kind] + os.sep for kind in ("purelib", "platlib"))
        fresh = {name: module for name, module in list(sys.modules.items()) if name not in self._known}
        return [name for name, module in fresh.items() if str(getattr(module, "__file__", "")).startswith(homes)]

    def publish(self, directory: Any) -> None:
        self._process.publish(directory)

    def configure(self, spec: Any) -> None:
        self._process.configure(spec)

    def hold(self, query: str) -> bool:
        return bool(self._process.hold(query))

    def leases(self) -> dict[str, float]:
        leases: dict[str, float] = self._process.leases()
        return leases

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self._process.stats()
        return stats

    def close(self, drain_s: float) -> None:
        self._closing.set()
        try:
            if self._process is not None:
                self._process.close(drain_s)
        finally:
            self._closed.set()

    def end(self) -> None:
        if self._door is not None:
            (self._seat.root / door_of(self._seat.key)).unlink(missing_ok=True)
        if self._process is not None:
            self._process.end(0)
        os._exit(0)


_DOOR = "w-"


def door_of(key: str) -> str:
    """Name of the socket at which a worker waits for the next one who asks."""
    return f"{_DOOR}{key}"


def keys_in(root: pathlib.Path) -> list[str]:
    """Keys of the workers that have such a socket, whether they live or not."""
    return sorted(path.name.removeprefix(_DOOR) for path in root.glob(f"{_DOOR}*") if path.is_socket())


def _be_different() -> None:
    """What a fork must not share with its siblings."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    with contextlib.suppress(OSError):  # not allowed here: then it is one among equals
        pathlib.Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
