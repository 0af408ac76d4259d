# SPDX-License-Identifier: Apache-2.0
"""The warm processes of one node: a template that has imported what workers need, and forks of it that wait."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing import connection as pipes
from multiprocessing import reduction
from typing import Any

from sparkmodel.cluster.children import Child, ChildLost
from sparkmodel.loaders.threads import limit_threads

IDLE_S = 600.0  # a node on which no model was started for so long gets its memory back
_PATIENCE_S = 60.0  # how long imports that nobody waits for leave the cores to others
_MODULES = ("pandas", "pyarrow.compute", "sparkmodel.pool.worker", "sparkmodel.loaders.load", "cloudpickle")
_OF_MLFLOW = ("mlflow.pyfunc", "sparkmodel.loaders.mlflow_model")
# they start threads when they are used or imported, or say themselves that they do not survive a fork
_NEVER = {"ray", "grpc", "tensorflow", "keras", "jax", "jaxlib", "pyspark", "py4j"}


class Spares:
    """Keeps a number of processes ready to become workers. Threads may share it.

    Args:
        count: Processes that wait; the template comes on top. 0 keeps neither.
        root: Directory of this node's workers; by its name what is left of them is found.
        idle_s: Seconds without a new worker after which all are ended; the next one starts them again.
    """

    def __init__(self, count: int, root: pathlib.Path, idle_s: float = IDLE_S) -> None:
        self.count, self._root, self._idle_s = count, root, idle_s
        self._lock, self._filling = threading.RLock(), threading.Lock()
        self._template: _Template | None = None
        self._ready: collections.deque[Child] = collections.deque()
        self._wanted: dict[str, None] = {}  # modules that models here needed, in the order of their import
        self._banned = set(_NEVER)
        self._taken, self._taking, self._used = 0, 0, time.monotonic()
        self._closed = False

    def __repr__(self) -> str:
        return f"Spares({len(self._ready)} of {self.count} ready, {self._taken} taken)"

    def open(self) -> None:
        """Start the template, without waiting for it."""
        with self._lock:
            if self.count and not self._closed:
                self._ensure()

    def take(self) -> Child:
        """A process that is ready to become a worker.

        Raises:
            ChildLost: there is none to be had.
        """
        try:
            return self._take()
        except ChildLost:  # the template has just ended, by itself or by somebody else: there is another one now
            return self._take()

    def _take(self) -> Child:
        with self._lock:
            if not self.count or self._closed:
                raise ChildLost("no spares are kept")
            template = self._ensure()
            self._ready = collections.deque(child for child in self._ready if not child.exited.done())
            found = self._ready.popleft() if self._ready else None
            self._taking += 1
        try:
            found = found or template.fork()
        finally:
            with self._lock:
                self._taking -= 1
                self._taken += found is not None
                self._used = time.monotonic()
        _in_background(self._fill)
        return found

    def learn(self, modules: Iterable[str]) -> None:
        """Have ready what a model imported, for the next of its kind."""
        with self._lock:
            fresh = [m for m in modules if m not in self._wanted and m.partition(".")[0] not in self._banned]
            self._wanted.update(dict.fromkeys(fresh))
            if self._template is not None and fresh:
                self._template.tell("import", *fresh)

    def describe(self) -> dict[str, Any]:
        """What is kept, with the bytes of memory that nobody else shares."""
        with self._lock:
            template = self._template
            pids = [template.pid] if template else []
            pids += [child.pid for child in self._ready if not child.exited.done()]
            return {
                "ready": len(pids) - bool(template),
                "wanted": self.count,
                "taken": self._taken,
                "pids": pids,
                "memory_bytes": sum(map(_private_bytes, pids)),
            }

    def close(self) -> None:
        """End all that nobody has taken."""
        with self._lock:
            self._closed = True
            template = self._template
        if template is not None:
            self._retire(template)
            template.kill()

    def _ensure(self) -> _Template:
        if self._template is None or self._template.is_gone():
            modules = [*_MODULES, *_OF_MLFLOW, *self._wanted]
            self._template = _Template([m for m in modules if m.partition(".")[0] not in self._banned], self._root)
            _in_background(self._attend, self._template)
        return self._template

    def _attend(self, template: _Template) -> None:
        """Listen to the template, fill up when it has something new, end it when nobody takes anything."""
        while not self._closed:
            try:
                message = template.hear(min(self._idle_s / 4, 5.0))
            except (EOFError, OSError):
                break
            if message and message[0] == "ready":
                self._fill(renew=True)
            elif message and message[0] == "threads":
                with self._lock:  # it ends: who comes now must not take it for one that goes on
                    self._banned.add(str(message[1]))
                    self._wanted = {m: None for m in self._wanted if m.partition(".")[0] not in self._banned}
                    self._retire(template)
                return
            with self._lock:
                is_idle = not self._taking and time.monotonic() - self._used > self._idle_s
                if is_idle and self._template is template:
                    self._template = None  # who comes now starts another
            if is_idle:
                break
        self._retire(template)

    def _retire(self, template: _Template) -> None:
        """End a template, and what it has forked for later."""
        with self._lock:
            self._template = None if self._template is template else self._template
            ready, self._ready = self._ready, collections.deque()
        template.close()
        for child in ready:
            child.kill()

    def _fill(self, renew: bool = False) -> None:
        """Have as many wait as are wanted; those that were forked before the last imports are replaced."""
        with contextlib.suppress(ChildLost), self._filling:
            with self._lock:
                old = list(self._ready) if renew else []
                missing = self.count - len(self._ready) + len(old)
                template = self._template
            if template is None:
                return
            for _ in range(missing):
                child = template.fork()  # without the lock: it may have to wait for an import
                with self._lock:
                    is_current = self._template is template and not self._closed
                    self._ready.extend([child] if is_current else [])
                if not is_current:
                    child.kill()
            with self._lock:
                old = [child for child in old if child in self._ready]
                self._ready = collections.deque(child for child in self._ready if child not in old)
            for child in old:
                child.kill()


class _Template:
    """The process that forks."""

    def __init__(self, modules: list[str], root: pathlib.Path) -> None:
        ours, theirs = socket.socketpair()
        limits = limit_threads(1)
        path = [entry for entry in sys.path if entry]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sparkmodel.cluster.template", str(theirs.fileno())],
                env={**os.environ, **limits, "PYTHONPATH": os.pathsep.join(path)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is not for it
            )
        self.pid, self._root = self._process.pid, root
        self._connection = pipes.Connection(ours.detach())
        self._lock = threading.Lock()
        environment = {name: os.environ.get(name) for name in ("PYTHONPATH", "JDK_JAVA_OPTIONS")}
        settings = {"path": sys.path, "root": str(root), "modules": modules, "environment": environment}
        self.tell_all({**settings, "patience_s": _PATIENCE_S})

    def tell_all(self, settings: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(settings)

    def tell(self, *message: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._connection.send(message)

    def hear(self, timeout_s: float) -> tuple[Any, ...]:
        """What it says, or nothing.

        Raises:
            EOFError, OSError: it has ended.
        """
        if not self._connection.poll(timeout_s):
            return ()
        message: tuple[Any, ...] = self._connection.recv()
        return message

    def fork(self) -> Child:
        """A new process of it.

        Raises:
            ChildLost: it has ended.
        """
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            try:
                self._connection.send(("fork",))
                reduction.send_handle(self._connection, theirs.fileno(), self.pid)
            except OSError as error:
                ours.close()
                raise ChildLost(f"the process that forks has ended: {error}") from error
        return Child(pipes.Connection(ours.detach()), root=self._root)

    def is_gone(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        """Have it fork no more; it waits for what it has forked."""
        self._process.terminate()
        with contextlib.suppress(OSError):
            self._connection.close()
        _in_background(self._process.wait)

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()


def _in_background(target: Callable[..., Any], *arguments: Any) -> None:
    threading.Thread(target=target, args=arguments, name="sparkmodel-spares", daemon=True).start()


def _private_bytes(pid: int) -> int:
    """Memory of a process that no other process shares."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
