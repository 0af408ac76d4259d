# SPDX-License-Identifier: Apache-2.0
"""The versions of queries that a process remembers, and the clients that it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sparkmodel.errors import DeadlineExceededError, PoolGoneError
from sparkmodel.wire.client import PoolClient
from sparkmodel.wire.clients import Clients
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.pins import Pins
from sparkmodel.wire.server import Server
from tests.unit.wire.liar import dead_endpoint
from tests.unit.wire.test_client import idle
from tests.unit.wire.toys import ToyService, handle_of, listing, numbers, wait_until

Serve = Callable[..., Server]


def forever() -> float:
    return 60.0


def test_a_query_is_asked_for_once() -> None:
    pins = Pins()
    assert pins.find(("q", "d"), lambda: 1, forever) == 1
    assert pins.find(("q", "d"), lambda: 2, forever) == 1
    assert pins.find(("q", "other"), lambda: 3, forever) == 3


def test_the_queries_that_were_not_used_for_longest_are_forgotten() -> None:
    pins = Pins(kept=2)
    for key in ("a", "b", "a", "c"):
        pins.find((key, ""), lambda: 1, forever)
    assert len(pins) == 2
    assert [pins.find((key, ""), lambda: 2, forever) for key in ("a", "c", "b")] == [1, 1, 2]


def test_those_who_wait_for_one_that_fails_ask_themselves() -> None:
    pins = Pins()
    asking, fail = threading.Event(), threading.Event()

    def ask_in_vain() -> int:
        asking.set()
        fail.wait()
        raise PoolGoneError("Cannot score with 'toy'", "it is gone")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pins.find, ("q", ""), ask_in_vain, forever)
        asking.wait()
        second = threads.submit(pins.find, ("q", ""), lambda: 5, lambda: 60.0)
        fail.set()
        with pytest.raises(PoolGoneError):
            first.result(60)
        assert second.result(60) == 5


def test_one_that_waits_for_another_has_its_own_deadline() -> None:
    pins = Pins()
    asking, go = threading.Event(), threading.Event()

    def ask() -> int:
        asking.set()
        go.wait()
        return 1

    def late() -> float:
        raise DeadlineExceededError("Cannot score with 'toy'", "too late")

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(pins.find, ("q", ""), ask, forever)
        asking.wait()
        with pytest.raises(DeadlineExceededError):
            pins.find(("q", ""), lambda: 2, late)
        go.set()
        assert first.result(60) == 1


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """Clients whose idle ones only the test sweeps."""
    made = Clients(PoolClient)
    made._is_sweeping = True
    yield made
    made.forget("swept")


@pytest.fixture
def handle(serve: Serve) -> Handle:
    return handle_of(serve(), pool_id="swept")


def use(clients: Clients, handle: Handle) -> PoolClient:
    client = clients.of(handle)
    list(client.predict([numbers(1)], False, caller=handle))
    return client


def test_connections_that_nobody_uses_are_closed_after_a_minute(clients: Clients, handle: Handle) -> None:
    client = use(clients, handle)
    assert clients.sweep(time.monotonic() + 30)
    assert idle(client) == 1
    assert clients.sweep(time.monotonic() + 61)
    assert idle(client) == 0
    assert clients.of(handle) is client, "the client is kept for longer"


def test_a_client_that_nobody_uses_is_forgotten(clients: Clients, handle: Handle) -> None:
    client = use(clients, handle)
    assert not clients.sweep(time.monotonic() + 301), "none is left"
    clients._is_sweeping = True
    assert clients.of(handle) is not client


def test_a_client_with_a_batch_under_way_is_kept(clients: Clients, serve: Serve) -> None:
    toy = ToyService()
    handle = handle_of(serve(toy), pool_id="swept")
    with toy.held(), ThreadPoolExecutor(1) as threads:
        result = threads.submit(use, clients, handle)
        wait_until(lambda: bool(toy.seen), "the batch is in the model")
        assert clients.sweep(time.monotonic() + 301)
        toy.release()
        assert clients.of(handle) is result.result(60)


def test_the_client_of_a_pool_that_was_dropped_is_forgotten(clients: Clients, serve: Serve) -> None:
    master = ToyService()
    master.directory = listing(2, state="stopped")
    handle = handle_of(master=serve(master), pool_id="swept", directory=listing(1, (dead_endpoint(),)))
    with pytest.raises(PoolGoneError, match="it was dropped"):
        use(clients, handle)
    assert not clients.sweep(time.monotonic())


def test_a_thread_sweeps_as_long_as_there_is_a_client(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparkmodel.wire.clients._PERIOD_S", 0.01)
    made = Clients(PoolClient)
    sweeper = Clients._sweep_on
    ended = threading.Event()
    monkeypatch.setattr(Clients, "_sweep_on", lambda self: (sweeper(self), ended.set()))
    made.of(handle_of(serve(), pool_id="swept"))
    assert not ended.wait(0.1)
    made.forget("swept")
    assert ended.wait(60)
