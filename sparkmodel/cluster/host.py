# SPDX-License-Identifier: Apache-2.0
"""The forked workers of one node, and the actor that keeps them on nodes where no supervisor is."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import threading
from concurrent.futures import Future
from typing import Any

import ray

from sparkmodel.cluster import janitor
from sparkmodel.cluster.children import Child, ChildLost
from sparkmodel.cluster.payloads import Unboxed
from sparkmodel.cluster.scratch import Scratch
from sparkmodel.cluster.spares import Spares
from sparkmodel.cluster.worker_process import Seat
from sparkmodel.errors import SparkModelError


class Host:
    """Starts and keeps workers as forks of a warm process. All it does, it does in the background.

    Args:
        root: Directory of the workers' files; made, and removed with this process, if there is none.
        address: Where workers serve.
        spares: Processes that are kept ready.
    """

    def __init__(self, root: pathlib.Path | None, address: str, spares: int) -> None:
        scratch = None if root else Scratch()
        self._watch = janitor.watch(scratch.path) if scratch else None
        self._scratch, self._address = scratch, address
        self._root = root or scratch.path  # type: ignore[union-attr]  # one of them is there
        self._workers: dict[str, _Worker] = {}
        self.spares = Spares(spares, self._root)

    def start(self, key: str, seat: Seat, boxed: list[Any]) -> Future[Any]:
        """A new worker; what it answers is what `answers.unwrap` takes.

        Args:
            key: What the other methods call it.
            seat: What it is; root and host are filled in here.
            boxed: What is shipped.
        """
        self._workers = {k: w for k, w in self._workers.items() if not w.exited.done()}
        worker = _Worker(self.spares, dataclasses.replace(seat, root=self._root, host=self._address), boxed)
        self._workers[key] = worker
        return worker.started

    def exited(self, key: str) -> Future[Any]:
        """Done when the worker has ended."""
        worker = self._workers.get(key)
        return worker.exited if worker else _done(None)

    def call(self, key: str, method: str, *arguments: Any) -> Future[Any]:
        """Ask a worker something."""
        worker = self._workers.get(key)
        if worker is None or worker.child is None:
            return _failed(ChildLost("its process has ended"))
        return worker.child.call(method, *arguments)

    def kill(self, key: str) -> Future[Any]:
        """End a worker now."""
        worker = self._workers.get(key)
        if worker is not None:
            worker.kill()
        return _done(None)

    def describe(self) -> Future[Any]:
        """What is kept ready here."""
        return _done(self.spares.describe())

    def close(self) -> None:
        """End everything."""
        self.spares.close()
        for worker in list(self._workers.values()):
            worker.kill()
        if self._scratch is not None:
            self._scratch.remove()


class _Worker:
    """One fork from its beginning to its end."""

    def __init__(self, spares: Spares, seat: Seat, boxed: list[Any]) -> None:
        self.started: Future[Any] = Future()
        self.exited: Future[Any] = Future()
        self.child: Child | None = None
        self._spares, self._seat = spares, seat
        self._lock, self._is_killed = threading.Lock(), False
        threading.Thread(target=self._run, args=(boxed,), name="sparkmodel-worker", daemon=True).start()

    def kill(self) -> None:
        with self._lock:
            self._is_killed = True
            child = self.child
        if child is not None:
            child.kill()

    def _run(self, boxed: list[Any]) -> None:
        unboxed: Unboxed | None = None
        try:
            unboxed = Unboxed(boxed, self._seat.spec, self._seat.token, self._seat.root)
            child = self._spares.take()
            with self._lock:
                self.child = child
                if self._is_killed:
                    child.kill()
            started = child.start(self._seat, unboxed.data, unboxed.directory)
            unboxed.data = None
            self.started.set_result(started.result())
            self._learn(child)
            child.exited.result()
        except SparkModelError as error:
            self.started.set_result({"error": error.to_dict()})
        except BaseException as error:
            if not self.started.done():
                self.started.set_exception(error)
        finally:
            if unboxed is not None:
                unboxed.release()
            self.exited.set_result(None)

    def _learn(self, child: Child) -> None:
        try:
            self._spares.learn(child.call("modules").result()["value"])
        except ChildLost:  # then there is nothing to learn from it
            return


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def _failed(error: BaseException) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


class HostProcess:
    """Ray's skin over Host, for nodes that have no supervisor."""

    def __init__(self, spares: int) -> None:
        find_address: Any = ray.util.get_node_ip_address
        self._host = Host(None, str(find_address()), spares)
        self._host.spares.open()

    async def start(self, key: str, seat: Seat, boxed: list[Any]) -> Any:
        return await asyncio.wrap_future(self._host.start(key, seat, boxed))

    async def exited(self, key: str) -> Any:
        return await asyncio.wrap_future(self._host.exited(key))

    async def call(self, key: str, method: str, *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._host.call(key, method, *arguments))

    async def kill(self, key: str) -> Any:
        return await asyncio.wrap_future(self._host.kill(key))

    async def describe(self) -> Any:
        return await asyncio.wrap_future(self._host.describe())

    async def close(self) -> None:
        self._host.close()


_remote: Any = ray.remote  # Ray's stubs know neither actor options nor .options()
HostActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=1000)(HostProcess)
