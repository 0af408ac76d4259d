# SPDX-License-Identifier: Apache-2.0
"""The forked workers of one node, and the actor that keeps them on nodes where no supervisor is."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pathlib
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import ray

from sparkmodel.cluster.answers import host as address_of
from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.child import door_of, keys_in
from sparkmodel.cluster.children import Child, ChildLost
from sparkmodel.cluster.home import Home
from sparkmodel.cluster.orphans import orphan_s, when_orphaned
from sparkmodel.cluster.payloads import Here, Unboxed
from sparkmodel.cluster.spares import Spares
from sparkmodel.cluster.watch import Stranger, Watch
from sparkmodel.cluster.worker_process import Seat, Started
from sparkmodel.errors import SparkModelError
from sparkmodel.pool.ends import End, end_of
from sparkmodel.pool.judge import READY
from sparkmodel.wire.verdicts import Fate

_ADOPT_S = 3.0  # for a worker to say who it is: the pool waits for its supervisor

# what `Kept` has on this node, or what `box` made for another
Shipped = list[Any] | pathlib.Path | None


class Host:
    """Starts and keeps workers as forks of a warm process. All it does, it does in the background.

    Args:
        home: Directory of the workers' files, by which what a host before this one left is found too.
        address: Where workers serve.
        spares: Processes that are kept ready.
    """

    def __init__(self, home: Home | pathlib.Path, address: str, spares: int) -> None:
        self._home, self._address = home, address
        self.root = home.path if isinstance(home, Home) else home
        self._workers: dict[str, _Worker] = {}
        self._doomed: set[str] = set()
        self.spares = Spares(spares, self.root)
        self._watch = Watch()

    def start(self, key: str, seat: Seat, shipped: Shipped) -> Future[Any]:
        """A new worker; what it answers is what `answers.unwrap` takes.

        Args:
            key: What the other methods call it.
            seat: What it is; what depends on the node is filled in here.
            shipped: What it loads.
        """
        if key in self._doomed:
            return _failed(ChildLost("it was ended before it was started"))
        self._workers = {k: w for k, w in self._workers.items() if not w.exited.done()}
        seat = dataclasses.replace(seat, root=self.root, host=self._address, key=key, orphan_s=orphan_s())
        worker = _Worker(seat, self._watch)
        self._workers[key] = worker
        worker.begin(self.spares, shipped)
        return worker.started

    def adopt(self) -> Future[list[tuple[Seat, Started]]]:
        """Who serves here, whoever started it. What does not serve, or does not answer, is ended."""
        adopted: Future[list[tuple[Seat, Started]]] = Future()

        def adopt() -> None:
            keys = {*self._workers, *keys_in(self.root)}
            with ThreadPoolExecutor(max_workers=max(1, len(keys))) as threads:
                found = threads.map(self._adopt, keys)
            adopted.set_result([told for told in found if told is not None])

        threading.Thread(target=adopt, name="sparkmodel-adopt", daemon=True).start()
        return adopted

    def _adopt(self, key: str) -> tuple[Seat, Started] | None:
        worker = self._workers.get(key)
        try:
            child = Child.adopt(self.root, key) if worker is None else worker.child
        except ChildLost:
            return None
        told = None
        try:
            if child is not None and (worker is None or worker.started.done()):
                told = unwrap(child.tell().result(_ADOPT_S))
        except (ChildLost, SparkModelError, FutureTimeoutError, CancelledError):  # it hangs, or has ended
            told = None
        if told is None:
            if child is not None:
                child.kill()
            if worker is not None:
                worker.kill()
            return None
        seat, started = told
        if worker is None:
            assert child is not None
            self._workers[key] = _Worker(seat, self._watch)
            self._workers[key].follow(child, started)
        return seat, started

    def exited(self, key: str) -> Future[Any]:
        """Its `End` when the worker has ended; for one that was asked to start and has answered, or was adopted."""
        worker = self._workers.get(key)
        return worker.exited if worker else _done(None)

    def state(self, key: str) -> str:
        """Of a worker here."""
        return self._watch.states().get(key, READY)

    def wants_end(self, key: str) -> Future[Any]:
        """Its pool ends a worker that is none of this host's."""
        self._watch.wants_end(key)
        return _done(None)

    def news(self) -> Future[dict[str, str]]:
        """States of the workers that are not ready."""
        return _done(self._watch.states())

    def fate(self, key: str, session: int, seq: int) -> Future[Fate]:
        """What became of a batch that a worker had; see `Charge.fate`."""
        return self._watch.fate(key, session, seq)

    def watch(self, key: str, pid: int, page: str) -> Future[Any]:
        """Watch a worker of this node that is none of this host's; its `End` when it has ended, None if it has."""
        try:
            return self._watch.add(key, Stranger(pid), pathlib.Path(page)).end
        except OSError:
            return _done(None)

    def call(self, key: str, method: str, *arguments: Any) -> Future[Any]:
        """Ask a worker something."""
        worker = self._workers.get(key)
        if worker is None or worker.child is None:
            return _failed(ChildLost("its process has ended"))
        if method == "close":
            self._watch.wants_end(key)
        return worker.child.call(method, *arguments)

    def kill(self, key: str) -> Future[Any]:
        """End a worker now."""
        self._watch.wants_end(key)
        worker = self._workers.get(key)
        if worker is None:
            self._doomed.add(key)  # an actor may be asked this before it is asked to start it, which is under way
        else:
            worker.kill()
        return _done(None)

    def describe(self) -> Future[Any]:
        """What is kept ready here."""
        return _done(self.spares.describe())

    def clear(self) -> None:
        """End what a host before this one left."""
        for key in keys_in(self.root):
            try:
                Child.adopt(self.root, key).kill()
            except ChildLost:  # it has ended already
                continue

    def close(self) -> None:
        """End everything."""
        self._watch.close()
        self.spares.close()
        for key, worker in list(self._workers.items()):
            self._watch.wants_end(key)
            worker.kill()
        if isinstance(self._home, Home):
            self._home.remove()


class _Worker:
    """One fork from its beginning to its end."""

    def __init__(self, seat: Seat, watch: Watch) -> None:
        self.started: Future[Any] = Future()
        self.exited: Future[Any] = Future()
        self.child: Child | None = None
        self._seat, self._watch = seat, watch
        self._lock, self._is_killed = threading.Lock(), False

    def begin(self, spares: Spares, shipped: Shipped) -> None:
        """Take a spare, and have it load."""
        threading.Thread(target=self._run, args=(spares, shipped), name="sparkmodel-worker", daemon=True).start()

    def follow(self, child: Child, started: Started) -> None:
        """It serves already."""
        self.child = child
        charge = self._watch.add(self._seat.key, child, pathlib.Path(started.page))
        self.started.set_result({"value": started})
        charge.end.add_done_callback(lambda end: self._end(None, end.result()))

    def kill(self) -> None:
        with self._lock:
            self._is_killed = True
            child = self.child
        if child is not None:
            child.kill()

    def _run(self, spares: Spares, shipped: Shipped) -> None:
        unboxed: Unboxed | Here | None = None
        seat, end = self._seat, End()
        try:
            unboxed = Unboxed(shipped, seat.spec, seat.token, seat.root) if isinstance(shipped, list) else Here(shipped)
            child = spares.take()
            with self._lock:
                self.child = child
                if self._is_killed:
                    child.kill()
            answer = child.start(seat, unboxed.data, unboxed.directory)
            unboxed.data = None
            told = answer.result()
            page = "" if "error" in told else unwrap(told).page
            charge = self._watch.add(seat.key, child, pathlib.Path(page))
            self.started.set_result(told)
            self._learn(spares, child)
            end = charge.end.result()
        except SparkModelError as error:
            self.started.set_result({"error": error.to_dict()})
        except BaseException as error:
            if self.child is not None and isinstance(error, ChildLost):
                end = end_of(self.child.pid, self.child.exited.result(), is_wanted=self._is_killed)
                error = ChildLost(end.fact)
            if not self.started.done():
                self.started.set_exception(error)
        finally:
            self._end(unboxed, end)

    def _end(self, unboxed: Unboxed | Here | None, end: End) -> None:
        if unboxed is not None:
            unboxed.release()
        (self._seat.root / door_of(self._seat.key)).unlink(missing_ok=True)
        self.exited.set_result(end)

    @staticmethod
    def _learn(spares: Spares, child: Child) -> None:
        try:
            spares.learn(child.call("modules").result()["value"])
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
    """Ray's skin over Host, for nodes that have no supervisor. It outlives the supervisor, and serves the next.

    Args:
        home: Name of the directory of its workers.
        spares: Processes that are kept ready.
        supervisor: Name of the supervisor: it ends with that one's end for good.
        namespace: Of that name.
    """

    def __init__(self, home: str, spares: int, supervisor: str, namespace: str) -> None:
        self._host = Host(Home(home, orphan_s()), address_of(""), spares)
        self._host.clear()  # of a host that was killed: its workers have been given up
        self._host.spares.open()
        when_orphaned(supervisor, namespace, self._end)

    async def start(self, key: str, seat: Seat, boxed: list[Any]) -> Any:
        return await asyncio.wrap_future(self._host.start(key, seat, boxed))

    async def adopt(self) -> Any:
        return await asyncio.wrap_future(self._host.adopt())

    async def exited(self, key: str) -> Any:
        return await asyncio.wrap_future(self._host.exited(key))

    async def news(self) -> Any:
        return await asyncio.wrap_future(self._host.news())

    async def fate(self, key: str, session: int, seq: int) -> Any:
        return await asyncio.wrap_future(self._host.fate(key, session, seq))

    async def wants_end(self, key: str) -> Any:
        return await asyncio.wrap_future(self._host.wants_end(key))

    async def watch(self, key: str, pid: int, page: str) -> Any:
        return await asyncio.wrap_future(self._host.watch(key, pid, page))

    async def call(self, key: str, method: str, *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._host.call(key, method, *arguments))

    async def kill(self, key: str) -> Any:
        return await asyncio.wrap_future(self._host.kill(key))

    async def describe(self) -> Any:
        return await asyncio.wrap_future(self._host.describe())

    async def close(self) -> None:
        self._host.close()

    def _end(self) -> None:
        self._host.close()
        os._exit(0)


_remote: Any = ray.remote  # Ray's stubs know neither actor options nor .options()
HostActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=1000)(HostProcess)
