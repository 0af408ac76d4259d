# SPDX-License-Identifier: Apache-2.0
"""Forked workers as the process that asked for them sees them."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import signal
import threading
from concurrent.futures import Future
from multiprocessing import connection as pipes
from typing import Any

from sparkmodel.cluster import reaper, sockets
from sparkmodel.cluster.child import door_of
from sparkmodel.cluster.worker_process import Seat

_HELLO_S = 300.0  # for a fork to say that it is there, on a machine with much else to do


class ChildLost(Exception):
    """The process has ended before it answered."""


class Child:
    """A worker process that was forked.

    Args:
        connection: The other end of what `child.serve` serves.
        pid: Its process; None has it say so.
        root: Directory that its command line must name, as another process of that number would not, and in which
            its parent notes how it has ended.

    Attributes:
        pid: Its process.
        exited: Done when the process has ended, with its status as `os.waitpid` gives it; None if nobody has seen it.

    Raises:
        ChildLost: it ended before it said who it is.
    """

    def __init__(self, connection: pipes.Connection, pid: int | None = None, root: pathlib.Path | None = None) -> None:
        self._connection = connection
        try:
            if pid is None and not connection.poll(_HELLO_S):
                raise ChildLost("it does not answer")
            self.pid: int = connection.recv() if pid is None else pid
            self._handle = os.pidfd_open(self.pid)
        except (EOFError, OSError) as error:
            connection.close()
            raise ChildLost(str(error)) from error
        if root is not None and not _names(self.pid, root):
            os.close(self._handle)
            connection.close()
            raise ChildLost("its process has ended, and another one has its number")
        self.exited: Future[int | None] = Future()
        self._root, self._has_ended = root, False
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        threading.Thread(target=self._listen, name="sparkmodel-child", daemon=True).start()

    @staticmethod
    def adopt(root: pathlib.Path, key: str) -> Child:
        """The worker that another process had started, which has ended.

        Args:
            root: Directory of the node's workers.
            key: As in its seat.

        Raises:
            ChildLost: it has ended too.
        """
        try:
            sock = sockets.connect(root, door_of(key))
            pid = sockets.peer(sock)
            return Child(pipes.Connection(sock.detach()), pid, root)
        except (OSError, ChildLost) as error:
            (root / door_of(key)).unlink(missing_ok=True)
            raise ChildLost(f"it has ended: {error}") from error

    def __repr__(self) -> str:
        return f"Child({self.pid}, {'ended' if self.exited.done() else 'running'})"

    def start(self, seat: Seat, data: Any, directory: pathlib.Path | None) -> Future[dict[str, Any]]:
        """Load the model and serve; the answer is what `answers.unwrap` takes."""
        with self._lock:
            future = self._send("start", (seat, directory, data is not None))
            if data is not None:
                with contextlib.suppress(OSError):  # then it has ended, and the listener says so
                    self._connection.send_bytes(data)
            return future

    def tell(self) -> Future[dict[str, Any]]:
        """Who it is, as the value of what `answers.unwrap` takes: `Seat` and `Started`, or None if it is closing."""
        return self.call("tell")

    def call(self, method: str, *arguments: Any) -> Future[dict[str, Any]]:
        """Ask it something."""
        with self._lock:
            return self._send(method, arguments)

    def kill(self) -> None:
        """End it now; `exited` tells when it has ended."""
        self.send(signal.SIGKILL)

    def send(self, number: int) -> None:
        """Send it a signal; nothing if it has ended."""
        with self._lock, contextlib.suppress(OSError):  # it has ended
            if not self._has_ended:  # else another has its handle's number
                signal.pidfd_send_signal(self._handle, number)

    def _send(self, method: str, arguments: tuple[Any, ...]) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        if self._has_ended:
            future.set_exception(ChildLost("its process has ended"))
            return future
        number = next(self._numbers)
        self._waiting[number] = future
        with contextlib.suppress(OSError):
            self._connection.send((number, method, arguments))
        return future

    def _listen(self) -> None:
        # a process that the model started may hold the socket for longer than the worker lives: so its handle counts
        with contextlib.suppress(EOFError, OSError):
            while self._handle not in pipes.wait([self._connection, self._handle]) or self._connection.poll():
                number, answer = self._connection.recv()
                with self._lock:
                    future = self._waiting.pop(number)
                future.set_result(answer)
        pipes.wait([self._handle])
        status = None if self._root is None else reaper.status_of(self._root, self.pid)
        status = reaper.status_from(self._handle) if status is None else status
        with self._lock:
            self._has_ended = True
            waiting, self._waiting = self._waiting, {}
            self._connection.close()
            os.close(self._handle)
        self.exited.set_result(status)
        for future in waiting.values():
            future.set_exception(ChildLost("its process has ended"))


def _names(pid: int, root: pathlib.Path) -> bool:
    try:
        return str(root).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
