# SPDX-License-Identifier: Apache-2.0
"""Pools of threads that are stopped at the end of each test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sparkmodel.pool import core, master, tending
from sparkmodel.pool.worker import Worker
from sparkmodel.wire.directory import Directory, Revision, Served
from tests.unit.pool.toys import HOST, TOKEN, Killed, RunningPool, Serve, client_for, spec_of
from tests.unit.wire.toys import HandleClient


@pytest.fixture(autouse=True)
def silent_death(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a master that was killed end without a word."""
    tell = threading.excepthook
    monkeypatch.setattr(
        threading, "excepthook", lambda arguments: None if arguments.exc_type is Killed else tell(arguments)
    )


@pytest.fixture
def make_pool() -> Iterator[Callable[..., RunningPool]]:
    """Makes supervised pools without workers yet."""
    made: list[RunningPool] = []

    def make(**arguments: Any) -> RunningPool:
        made.append(RunningPool(**arguments))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def pool(make_pool: Callable[..., RunningPool]) -> RunningPool:
    return make_pool()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests without callers: nobody needs the time to learn the new endpoints, and what is over ends soon."""
    monkeypatch.setattr(master, "_TEND_S", 0.1)
    monkeypatch.setattr(core, "GRACE_S", 0.0)
    monkeypatch.setattr(tending, "GRACE_S", 0.0)


@pytest.fixture
def quiet_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drops what a thread dies of; Python 3.11 cannot format tracebacks in two threads at a time."""
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a worker for a source; returns it and a client of it."""
    made: list[tuple[Worker, HandleClient]] = []

    def start(source: Any, version: int = 1, **rest: Any) -> tuple[Worker, HandleClient]:
        spec, payload = spec_of(source, **rest)
        worker = Worker(spec, version=version, token=TOKEN, host=HOST)
        endpoint = worker.start(payload.data)
        worker.publish(
            Directory(Revision(1, 1), "ready", version, (Served(version, (endpoint,), accepts=(spec.digest,)),))
        )
        made.append((worker, client_for(worker.directory, endpoint, spec)))
        return made[-1]

    yield start
    for worker, client in made:
        client.close()
        worker.close()
