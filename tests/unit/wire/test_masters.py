# SPDX-License-Identifier: Apache-2.0
"""Masters of pools that are cold, away, replaced or gone. Real sockets."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sparkmodel.errors import (
    PoolBusyError,
    PoolGoneError,
    PoolNotReadyError,
)
from sparkmodel.wire import locator as locator_module
from sparkmodel.wire.directory import Directory, Revision, Served
from tests.unit.wire.liar import dead_endpoint
from tests.unit.wire.test_client import score
from tests.unit.wire.toys import ToyService, ToyWorker, handle_of, listing, numbers, wait_until
from tests.unit.wire.versions import Pool, Serve, answering, said


class Cold:
    """A pool without a worker; its master starts one when it is asked, and takes as long as the test wants."""

    def __init__(self, serve: Serve, worker: ToyWorker) -> None:
        self.started = threading.Event()
        self.worker = worker
        self._server = serve(worker)
        self.service = ToyService()
        self.service.directory = listing(1, state="cold")
        self.service.on_pin = self._start
        self.server = serve(self.service)

    def _start(self, deadline: float) -> None:
        if not self.started.wait(max(0.0, min(60.0, deadline - time.monotonic()))):
            raise PoolNotReadyError("Cannot score with 'toy'", "its workers did not start in time")
        self.service.directory = listing(2, (self._server.endpoint,))


@pytest.mark.parametrize("query", ["", "q"])
def test_a_call_wakes_a_cold_pool_and_waits(serve: Serve, pool: Pool, query: str) -> None:
    cold = Cold(serve, answering(1))
    client = pool(master=cold.server, directory=cold.service.directory)
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(said, client, 2, query)
        wait_until(lambda: bool(cold.service.asked), "the master is asked")
        assert cold.worker.seen == []
        cold.started.set()
        assert result.result(60) == [1.0, 1.0]
    assert cold.service.asked == [(query, "")]


def test_the_wait_for_a_cold_pool_ends_at_the_calls_deadline(serve: Serve, pool: Pool) -> None:
    cold = Cold(serve, answering(1))
    client = pool(master=cold.server, directory=cold.service.directory)
    with pytest.raises((PoolNotReadyError, PoolBusyError)):
        score(client, 1, timeout_s=0.4)
    assert cold.worker.seen == []


def test_the_wait_for_a_cold_pool_without_a_deadline_is_the_pools_own(serve: Serve, pool: Pool) -> None:
    cold = Cold(serve, answering(1))
    client = pool(master=cold.server, directory=cold.service.directory, ready_timeout_s=0.4)
    with pytest.raises(PoolNotReadyError):
        score(client, 1)


def test_a_master_that_is_away_is_waited_for_and_found_where_a_worker_says(serve: Serve, pool: Pool) -> None:
    """A query that begins while the master is away begins when its successor is there, on another port."""
    worker = answering(1)
    endpoint = serve(worker).endpoint
    directory = listing(1, (endpoint,), master=dead_endpoint())
    worker.directory = directory
    client = pool(master_endpoint=dead_endpoint(), directory=directory)
    with ThreadPoolExecutor(2) as threads:
        held = threads.submit(said, client, 1, "q")
        assert said(client) == [1], "those that are held to nothing do not need it"
        with pytest.raises(TimeoutError):
            held.result(0.3)
        successor = ToyService()
        server = serve(successor)
        successor.directory = worker.directory = Directory(
            Revision(2, 0), "ready", 1, (Served(1, (endpoint,)),), server.endpoint
        )
        assert held.result(60) == [1]
    assert successor.asked == [("q", "")]


def test_a_successor_on_the_port_of_the_master_before_it_is_found(serve: Serve, pool: Pool) -> None:
    first = ToyService()
    server = serve(first)
    client = pool(master=server, directory=listing(1, state="cold"))
    server.close()
    second = ToyService()
    second.directory = listing(2, (serve(answering(1)).endpoint,))
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(said, client, 1, "q")
        again = serve(second, port=server.endpoint[1])
        assert result.result(60) == [1]
    assert again.endpoint == server.endpoint


def test_a_worker_on_the_port_of_the_master_is_no_master(serve: Serve, pool: Pool) -> None:
    worker = answering(1)
    server = serve(worker)
    worker.directory = listing(1, (server.endpoint,))
    client = pool(server)
    of_query = handle_of(server, query="q", ready_timeout_s=0.3)
    with pytest.raises(PoolGoneError, match="no worker came back"):
        list(client.predict([numbers(1)], False, caller=of_query))
    assert said(client) == [1]


def test_a_pool_of_which_nobody_answers_is_gone_for_a_query_too(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locator_module, "_GONE_S", 0.3)
    client = pool(master_endpoint=dead_endpoint(), directory=listing(1, (dead_endpoint(),)))
    with pytest.raises(PoolGoneError, match="neither its master nor a worker answers"):
        said(client, query="q")
