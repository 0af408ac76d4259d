# SPDX-License-Identifier: Apache-2.0
"""Pools on a real local Ray without Spark, callers that never stop, and the process that supervises them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pyarrow as pa
import ray

from sparkmodel.cluster import connection, pools
from sparkmodel.cluster.line import Line
from sparkmodel.cluster.pools import Pool
from sparkmodel.errors import PoolGoneError
from sparkmodel.loaders import resolve
from sparkmodel.options import PoolOptions
from sparkmodel.pool.intents import Intent
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.client import PoolClient
from tests.integration.scripts import PATIENCE_S, wait_until


@contextlib.contextmanager
def own_supervisor() -> Iterator[None]:
    """Pools that are made meanwhile have a supervisor of their own, which ends with them."""
    runtime = connection.current()
    before = runtime.supervisors.pop(False, None)
    try:
        yield
    finally:
        _, actor = runtime.supervisors.pop(False, ("", None))
        if actor is not None:
            with contextlib.suppress(PoolGoneError, ray.exceptions.ActorDiedError):  # a test has ended it, or just does
                Line(actor, "all").ask("pid")  # it may be starting again just now
                ray.get(actor.close.remote(), timeout=PATIENCE_S)
                ray.kill(actor)
        if before is not None:
            runtime.supervisors[False] = before


def spec_of(source: Any, name: str = "watched", **options: Any) -> tuple[ModelSpec, bytes | None]:
    """What `pools.deploy` takes."""
    resolved = resolve(name, source)
    spec = ModelSpec(
        name=name,
        source=resolved.source,
        signature=resolved.signature,
        result_type=pa.float64(),
        options=PoolOptions.of({"num_cpus": 0.1, "workers": 2, **options}),
    )
    return spec, resolved.payload


def deploy(source: Any, name: str = "watched", **options: Any) -> Pool:
    """A pool that serves."""
    spec, payload = spec_of(source, name, **options)
    return pools.deploy(spec, payload, lambda status: None)


def update(pool: Pool, source: Any) -> int:
    """The number of the version that the pool moved to."""
    resolved = resolve(pool.name, source)
    intent = Intent(kind="source", source=dataclasses.replace(resolved, payload=None, directory=None))
    return pool.change(intent, resolved.payload).version


def workers(pool: Pool) -> list[int]:
    """Their processes, but for one that does not answer because it was killed just now."""
    return sorted(worker["pid"] for worker in pool.stats()["workers"] if worker["answers"])


def supervisor(pool: Pool) -> int:
    """The process of its supervisor."""
    return int(Line(pool._line.supervisor, pool.name).ask("pid"))


def kill(pid: int) -> None:
    """SIGKILL; returns when the process has ended."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(pid))


def has_ended(pid: int) -> bool:
    """Whether it has, collected by its parent or not."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def forks_in(root: pathlib.Path) -> list[int]:
    """The processes that live for a node's directory, but for Ray's own and its janitor."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if line.startswith("sparkmodel ") and str(root) in line and not has_ended(process.pid):
                found.append(process.pid)
    return found


class Callers:
    """Call a pool without a pause, each with a client of its own, and note what they get.

    Args:
        pool: Which.
        factors: What the versions multiply by.
        count: How many call at a time.
    """

    def __init__(self, pool: Pool, *factors: float, count: int = 3) -> None:
        self.errors: list[BaseException] = []
        self.wrong: list[Any] = []
        self._handle, self._factors = pool.handle(), factors
        self._done, self._calls = threading.Event(), [0] * count
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def more(self) -> None:
        """Wait until each has got another answer, or one an error."""
        before = list(self._calls)
        wait_until(
            lambda: bool(self.errors) or all(now > then + 1 for now, then in zip(self._calls, before, strict=True))
        )

    def _run(self, number: int) -> None:
        client = PoolClient(self._handle.pool, self._handle.credential)
        values = [float(number * 1000 + i) for i in range(100)]
        batch = pa.record_batch({"x": pa.array(values)})
        try:
            while not self._done.is_set():
                (answer,) = client.predict([batch], True, caller=self._handle, timeout_s=PATIENCE_S)
                if answer.to_pylist() not in [[value * factor for value in values] for factor in self._factors]:
                    self.wrong.append(answer.to_pylist()[:3])
                self._calls[number] += 1
        except BaseException as error:
            self.errors.append(error)
        finally:
            client.close()
