# SPDX-License-Identifier: Apache-2.0
"""One process, one client of a pool, several handles of it: each call has the limits of its own handle."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError  # the builtin one since Python 3.11
from typing import Any

import pytest

from sparkmodel.errors import PoolGoneError, WorkerLostError
from sparkmodel.wire import receiver
from sparkmodel.wire.client import client_of, forget
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.server import Server
from tests.unit.wire.liar import Liar, dead_endpoint, hang_up, say_nothing
from tests.unit.wire.toys import ToyService, handle_of, listing, numbers, wait_until

Serve = Callable[..., Server]
POOL = "limits"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    forget(POOL)


def ask(handle: Handle, *values: float) -> list[Any]:
    """The predictions of one batch, by this process's client of the pool."""
    (array,) = client_of(handle).predict([numbers(*values)], False, caller=handle)
    return list(array.to_pylist())


def test_retries_are_those_of_the_calls_handle() -> None:
    with contextlib.closing(Liar(hang_up)) as liar:
        strict, patient = (handle_of(liar, pool_id=POOL, max_retries=retries) for retries in (0, 3))
        for handle, lost in ((strict, 1), (patient, 4), (strict, 1)):
            with pytest.raises(WorkerLostError, match=f"lost {lost} worker"):
                ask(handle, 1)
        assert client_of(patient) is client_of(strict)


def test_the_longest_silence_is_that_of_the_calls_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "SILENCE_S", 0.1)
    with contextlib.closing(Liar(say_nothing)) as liar:
        for timeout_s, silent in ((0.1, "0.2 s"), (0.6, "0.7 s")):
            with pytest.raises(WorkerLostError, match=f"silent for {silent}"):
                ask(handle_of(liar, pool_id=POOL, timeout_s=timeout_s, max_retries=0), 1)


def test_the_window_is_that_of_the_calls_handle(serve: Serve) -> None:
    services = [ToyService(), ToyService()]
    servers = [serve(toy, max_concurrency=8) for toy in services]
    narrow, wide = (handle_of(*servers, pool_id=POOL, max_in_flight=width) for width in (1, 4))
    assert ask(narrow, 1) == [2]
    for toy in services:
        toy.hold()
    with ThreadPoolExecutor(1) as threads:
        batches = [numbers(i) for i in range(8)]
        result = threads.submit(lambda: list(client_of(wide).predict(batches, False, caller=wide)))
        wait_until(lambda: sum(server.gate.load for server in servers) == 4, "the window is full")
        for toy in services:
            toy.release()
        assert [array.to_pylist() for array in result.result(60)] == [[2 * i] for i in range(8)]


def test_the_wait_for_a_pool_that_heals_is_that_of_the_calls_handle(serve: Serve) -> None:
    live = serve()
    master = ToyService()
    master.directory = listing(2, (), "healing", 1)
    healing: dict[str, Any] = {"master": serve(master), "directory": master.directory, "pool_id": POOL}
    with pytest.raises(PoolGoneError, match="no worker came back"):
        ask(handle_of(**healing, ready_timeout_s=0.2), 1)
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(ask, handle_of(**healing, ready_timeout_s=60.0), 3)
        with pytest.raises(FutureTimeoutError):
            result.result(1)
        master.directory = listing(3, (live.endpoint,), "ready", 1)
        assert result.result(60) == [6]


def test_a_newer_handle_of_a_pool_tells_its_client_where_the_pool_is_now(serve: Serve) -> None:
    old = serve(ToyService())
    assert ask(handle_of(old, pool_id=POOL), 1) == [2]
    old.close()
    toy = ToyService()
    moved = serve(toy)
    toy.directory = listing(6, (moved.endpoint,), "ready", 1)
    newer = handle_of(pool_id=POOL, master=moved, directory=listing(5, (dead_endpoint(),), "ready", 1))
    assert ask(newer, 2) == [4], "its master is asked, not that of the handle that came first"


def test_an_older_handle_does_not_take_a_client_back(serve: Serve) -> None:
    gone, live = dead_endpoint(), serve()
    assert ask(handle_of(live, pool_id=POOL, directory=listing(5, (live.endpoint,), "ready", 1)), 1) == [2]
    stale = handle_of(live, pool_id=POOL, directory=listing(1, (gone,), "ready", 1))
    assert ask(stale, 2) == [4]
    assert client_of(stale)._router.directory.revision.number == 5


def test_a_handle_with_another_token_has_no_share_in_anothers_connections(serve: Serve) -> None:
    server = serve()
    right, wrong = (handle_of(server, pool_id=POOL, token=token) for token in ("secret", "guessed"))
    assert ask(right, 1) == [2]
    with pytest.raises(PoolGoneError, match="another pool has its address"):
        ask(wrong, 1)
    forget(POOL)
    wait_until(lambda: "0 connections" in repr(server), "the connections of all who had it are closed")
