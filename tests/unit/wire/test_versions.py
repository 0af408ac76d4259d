# SPDX-License-Identifier: Apache-2.0
"""Pools with several versions, and workers that are replaced under load. Real sockets."""

from __future__ import annotations

import functools
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from sparkmodel.errors import (
    PoolGoneError,
    SparkModelError,
    VersionRetiredError,
    WorkerLostError,
)
from sparkmodel.wire.client import client_of, forget
from sparkmodel.wire.directory import Served
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.server import Server
from tests.unit.wire.liar import Liar, dead_endpoint, hang_up
from tests.unit.wire.test_client import in_flight, score
from tests.unit.wire.toys import ToyService, ToyWorker, handle_of, listing, numbers, wait_until
from tests.unit.wire.versions import Pool, Serve, answering, said, spread


def test_calls_are_spread_over_versions_by_weight_and_each_stays_with_its_own(serve: Serve, pool: Pool) -> None:
    one, two, idle = (serve(answering(version)) for version in (1, 2, 3))
    client = pool(master=serve(ToyService()), directory=spread(one, two, idle, weights=(0.8, 0.2, 0.0)))
    calls = [said(client, batches=3) for _ in range(300)]
    assert all(len(set(call)) == 1 for call in calls)
    count = Counter(call[0] for call in calls)
    assert count.keys() == {1.0, 2.0}
    assert 25 < count[2.0] < 110, "60 of 300 are expected"


def test_a_call_goes_to_a_version_that_suits_its_plan(serve: Serve, pool: Pool) -> None:
    workers = [answering(version) for version in (1, 2)]
    served = tuple(
        Served(toy.version, (serve(toy).endpoint,), accepts=(digest, "both"))
        for toy, digest in zip(workers, ("old", "new"), strict=True)
    )
    client = pool(master=serve(ToyService()), directory=listing(1, served=served))
    for _ in range(10):
        assert said(client, digest="old") == [1]
        assert said(client, digest="new") == [2]
    assert {said(client, digest=digest)[0] for digest in ("both", "") for _ in range(40)} == {1, 2}


def test_a_call_whose_version_loses_its_workers_goes_on_with_another(serve: Serve, pool: Pool) -> None:
    one, two = (serve(answering(version)) for version in (1, 2))
    client = pool(master=serve(ToyService()), directory=spread(one, two, weights=(1.0, 1e-9)))
    results = client.predict((numbers(i) for i in itertools.count()), False, caller=client.handle)
    assert next(results).to_pylist() == [1]
    one.close()
    assert 2.0 in (next(results).to_pylist()[0] for _ in range(5))
    results.close()  # type: ignore[attr-defined]


def test_a_query_has_the_same_version_whoever_asks(serve: Serve, pool: Pool) -> None:
    master = ToyService()
    directory = spread(serve(answering(1)), serve(answering(2)), weights=(0.5, 0.5), number=2)
    master.directory = directory
    master.versions = {"q1": 1, "q2": 2}
    server = serve(master)
    clients = [pool(master=server, directory=directory, pool_id=f"client {i}") for i in range(2)]
    for client in clients:
        for _ in range(5):
            assert said(client, 4, "q1") == [1.0] * 4
            assert said(client, 4, "q2") == [2.0] * 4
    assert Counter(master.asked) == {("q1", ""): 2, ("q2", ""): 2}, "each client asks once"


def test_a_query_keeps_its_version_although_another_is_served_by_now(serve: Serve, pool: Pool) -> None:
    old, new = answering(1), answering(2)
    servers = [serve(old), serve(new)]
    master = ToyService()
    master.directory = before = spread(servers[0], weights=(1.0,))
    client = pool(master=serve(master), directory=before)
    assert said(client, query="begun") == [1]
    after = listing(2, served=(Served(1, (servers[0].endpoint,), 0.0), Served(2, (servers[1].endpoint,))), version=2)
    old.directory = new.directory = master.directory = after
    assert said(client, query="begun") == [1]
    assert said(client, query="new") == [2]
    assert said(client) == [2]


def test_a_query_whose_version_was_forgotten_fails_rather_than_going_on_with_another(serve: Serve, pool: Pool) -> None:
    old, new = serve(answering(1)), answering(2)
    master = ToyService()
    master.directory = before = spread(old, weights=(1.0,))
    client = pool(master=serve(master), directory=before)
    assert said(client, query="q") == [1]
    old.close()
    master.versions.clear()
    master.directory = listing(2, (serve(new).endpoint,), version=2)
    with pytest.raises(VersionRetiredError, match="'q' was begun by version 1"):
        said(client, query="q")
    assert new.seen == []
    assert in_flight(client) == 0


@pytest.mark.parametrize("query", ["", "q"])
def test_what_the_master_says_against_a_version_is_the_calls_error(serve: Serve, pool: Pool, query: str) -> None:
    def refuse(deadline: float) -> None:
        raise VersionRetiredError("Cannot score with 'toy'", "version 1 has ended")

    master = ToyService()
    master.on_pin = refuse
    client = pool(master=serve(master), directory=listing(1))
    with pytest.raises(VersionRetiredError, match="version 1 has ended"):
        said(client, query=query)


@pytest.mark.fault("F22")
def test_many_tasks_of_one_query_ask_once(serve: Serve, pool: Pool) -> None:
    asked, go = threading.Event(), threading.Event()

    def on_pin(deadline: float) -> None:
        asked.set()
        go.wait()

    master = ToyService()
    master.on_pin = on_pin
    master.directory = spread(serve(answering(1)), weights=(1.0,))
    client = pool(master=serve(master), directory=master.directory)
    with ThreadPoolExecutor(8) as threads:
        results = [threads.submit(said, client, 1, "q") for _ in range(8)]
        asked.wait(60)
        go.set()
        assert [result.result(60) for result in results] == [[1.0]] * 8
    assert master.asked == [("q", "")]


def test_the_pools_limits_of_now_hold_for_a_client_that_is_there_already(serve: Serve) -> None:
    toy = ToyService()
    server = serve(toy, max_concurrency=8)
    handle = handle_of(server, pool_id="live", max_in_flight=1, max_retries=9)
    try:
        client = client_of(handle)
        list(client.predict([numbers(1)], False, caller=handle))
        limits = Limits(max_in_flight=4, max_retries=0, timeout_s=7.0, ready_timeout_s=8.0)
        toy.directory = listing(2, (server.endpoint,), limits=limits)
        list(client.predict([numbers(1)], False, caller=handle))
        assert client.limits(handle) == limits
        with toy.held(), ThreadPoolExecutor(1) as threads:
            batches = [numbers(i) for i in range(8)]
            result = threads.submit(lambda: list(client.predict(batches, False, caller=handle)))
            wait_until(lambda: server.gate.load == 4, "the window is as wide as the pool says now")
            toy.release()
            assert [array.to_pylist() for array in result.result(60)] == [[2.0 * i] for i in range(8)]
        dying = Liar(hang_up)
        toy.directory = listing(3, (dying.endpoint,), limits=limits)
        list(client.predict([numbers(1)], False, caller=handle))
        with pytest.raises(WorkerLostError, match="lost 1 worker before"):
            list(client.predict([numbers(1)], False, caller=handle))
        dying.close()
    finally:
        forget("live")


def test_an_answer_of_many_megabytes_survives_the_end_of_its_worker(serve: Serve, pool: Pool) -> None:
    """The batch has left the model, so that nothing keeps the worker but an answer that is amid its way."""
    toy = ToyService()
    toy.predict = lambda batch: pa.array([float(len(batch))] * len(batch))
    server = serve(toy)
    client = pool(server, max_retries=0)
    results = client.predict(iter([numbers(*([1.0] * 4_000_000)), numbers()]), False, caller=client.handle)
    with ThreadPoolExecutor(1) as threads:
        # nobody reads the answer until the worker is about to close
        closer = threads.submit(wait_and_close, server, toy)
        array = next(results)
        closer.result(60)
    assert len(array) == 4_000_000
    assert toy.seen == [1.0]


def wait_and_close(server: Server, toy: ToyService) -> None:
    wait_until(lambda: bool(toy.seen) and not server.gate.load, "the batch has been scored")
    server.close(drain_s=60)


def is_under_load(worker: ToyWorker) -> bool:
    return len(worker.seen) > 20


@pytest.mark.parametrize("query", ["", "q"])
@pytest.mark.fault("F16")
def test_swaps_under_load_lose_nothing_and_score_nothing_twice(serve: Serve, pool: Pool, query: str) -> None:
    """Ten workers in a row take each other's place, all within one version; no batch may be sent twice."""
    master = ToyService()
    services = [ToyWorker() for _ in range(10)]
    servers = [serve(toy) for toy in services[:2]]

    def publish(number: int) -> None:
        listed = listing(number, (server.endpoint for server in servers[-2:]))
        for toy in (master, *services):
            toy.directory = listed

    publish(1)
    client = pool(master=serve(master), directory=master.directory, max_retries=0, max_in_flight=2, query=query)
    stop = threading.Event()

    def run(caller: int) -> int:
        sent = itertools.count()

        def batches() -> Iterator[pa.RecordBatch]:
            while not stop.is_set():
                yield numbers(caller * 1_000_000 + next(sent))

        count = 0
        for count, array in enumerate(client.predict(batches(), False), 1):
            assert array.to_pylist() == [2.0 * (caller * 1_000_000 + count - 1)]
        return count

    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(run, caller) for caller in range(4)]
        try:
            for number, toy in enumerate(services[2:], 2):
                wait_until(functools.partial(is_under_load, services[number - 2]), "who goes is under load")
                servers.append(serve(toy))
                publish(number)
                servers[-3].close(drain_s=60)
        finally:
            stop.set()
        answered = sum(result.result(60) for result in results)
    seen = [value for toy in services for value in toy.seen]
    assert len(seen) == len(set(seen)) == answered
    assert (client.retries, in_flight(client)) == (0, 0)


def test_a_dispatch_ends_although_two_workers_that_cannot_be_reached_take_turns(
    serve: Serve, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is avoided for less time than it takes to find that the other does not answer."""
    clock = itertools.count()
    master = ToyService()
    master.directory = directory = listing(1, (dead_endpoint(), dead_endpoint()))
    client = pool(master=serve(master), directory=directory, ready_timeout_s=0.3)
    monkeypatch.setattr(client._router, "_clock", lambda: float(next(clock) * 10))
    with pytest.raises(PoolGoneError, match="no worker came back"):
        score(client, 1)
    assert master.asked


def test_a_worker_whose_version_is_not_the_listed_one_is_left_and_nothing_is_counted(serve: Serve, pool: Pool) -> None:
    wrong, right = answering(2), answering(1)
    wrong.directory = right.directory = listing(1)
    master = ToyService()
    directory = listing(1, (serve(wrong).endpoint, serve(right).endpoint))
    master.directory = directory
    client = pool(master=serve(master), directory=directory)
    for i in range(10):
        assert said(client, query=f"q{i}") == [1]
    assert (wrong.seen, client.retries, in_flight(client)) == ([], 0, 0)


def test_a_digest_that_no_worker_takes_is_the_masters_to_judge(serve: Serve, pool: Pool) -> None:
    worker = answering(1)
    worker.accepts = ("new",)
    master = ToyService()
    master.directory = directory = listing(1, served=(Served(1, (serve(worker).endpoint,), accepts=("new",)),))

    def judge(deadline: float) -> None:
        if master.asked[-1][1] != "new":
            raise VersionRetiredError("Cannot score with 'toy'", "no version answers this plan")

    master.on_pin = judge
    client = pool(master=serve(master), directory=directory)
    assert said(client, digest="new") == [1]
    with pytest.raises(SparkModelError) as caught:
        said(client, digest="old")
    assert caught.value.condition == "VERSION_RETIRED"
    assert len(worker.seen) == 1
