# SPDX-License-Identifier: Apache-2.0
"""The bridge's client in a pool of several versions: which one answers, who settles it, and what is tried when."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError  # the builtin one since Python 3.11
from typing import Any

import pytest

from sparkmodel.errors import ModelLoadError, PoolNotReadyError, VersionRetiredError, WorkerStoppingError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Directory, Revision, Served
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.server import Server
from tests.bridge import JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.wire.liar import Liar, dead_endpoint, say_nothing
from tests.unit.wire.toys import ToyService, ToyWorker, listing, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., Client]
WHAT = "Cannot score with 'toy'"


def refused(call: Callable[[], Any]) -> JvmError:
    with pytest.raises(JvmError) as caught:
        call()
    return caught.value


def pin(client: Client, query: str, digest: str = "", **more: Any) -> int:
    return int(client.jvm.start("pin", client=client.number, query=query, digest=digest, **more).result(60))


def two_versions(serve: Serve) -> tuple[list[ToyService], list[Server], Directory]:
    """Two workers of two versions, the second of which gets all that is new."""
    toys: list[ToyService] = [ToyWorker(version=1), ToyWorker(version=2)]
    servers = [serve(toy) for toy in toys]
    entries = tuple(
        Served(toy.version, (server.endpoint,), float(toy.version - 1), ())
        for toy, server in zip(toys, servers, strict=True)
    )
    directory = listing(5, version=2, served=entries)
    for toy in toys:
        toy.directory = directory
    return toys, servers, directory


# --- who settles a version ----------------------------------------------------------------------------------------


@pytest.mark.fault("F22")
def test_a_query_is_asked_for_once_by_all_of_its_tasks(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    entered = threading.Event()
    go_on = threading.Event()

    def wait(deadline: float) -> None:
        entered.set()
        go_on.wait(60)

    service.on_pin = wait
    calls = [client.jvm.start("pin", client=client.number, query="q", digest="d") for _ in range(8)]
    assert entered.wait(60)
    with pytest.raises(FutureTimeoutError):
        calls[-1].result(0.5)
    go_on.set()
    assert [call.result(60) for call in calls] == [1] * 8
    assert pin(client, "q", "d") == 1
    assert service.asked == [("q", "d")]
    assert pin(client, "q", "another plan's") == pin(client, "r", "d") == 1
    assert service.asked[1:] == [("q", "another plan's"), ("r", "d")]
    assert client.open_connections == 0, "those to the master are not kept"


def test_other_clients_get_the_same_version_from_the_master(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve()
    first, second = pool(server), pool(server)
    assert pin(first, "q") == 1
    service.directory = listing(2, [server.endpoint], version=2)
    assert (pin(second, "q"), pin(second, "r")) == (1, 2)


def test_a_thousand_queries_are_remembered(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    for i in range(1001):
        pin(client, f"q{i}")
    pin(client, "q1000")
    pin(client, "q2")
    assert len(service.asked) == 1001
    pin(client, "q0")
    assert service.asked[1001:] == [("q0", "")]


def test_one_that_gives_up_leaves_the_question_to_the_next(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    go_on = threading.Event()
    service.on_pin = lambda deadline: go_on.wait(60) and None
    watch = f"pin-{id(client)}"
    first = client.jvm.start("pin", client=client.number, query="q", watch=watch)
    wait_until(lambda: len(service.asked) == 1, "it is asked")
    second = client.jvm.start("pin", client=client.number, query="q")
    client.jvm.call("trip", watch=watch)
    assert "Tripped" in refused(lambda: first.result(60)).condition
    wait_until(lambda: len(service.asked) == 2, "the other one asks")
    go_on.set()
    assert second.result(60) == 1


@pytest.mark.parametrize(
    "error",
    [
        VersionRetiredError(WHAT, "it has ended", "run the query again"),
        PoolNotReadyError(WHAT, "its workers did not start in time"),
        ModelLoadError(WHAT, "no such file"),
    ],
    ids=lambda error: error.condition,
)
def test_what_the_master_says_against_it_is_told(serve: Serve, pool: Pool, service: ToyService, error: Any) -> None:
    def fail(deadline: float) -> None:
        raise error

    service.on_pin = fail
    told = refused(lambda: pin(pool(serve()), "q"))
    assert (told.condition, told.parts["fact"]) == (error.condition, error.fact)


def test_a_master_that_is_about_to_end_is_asked_again(serve: Serve, pool: Pool, service: ToyService) -> None:
    def stop_once(deadline: float) -> None:
        if len(service.asked) == 1:
            raise WorkerStoppingError(WHAT, "it stops")

    service.on_pin = stop_once
    assert pin(pool(serve()), "q") == 1
    assert len(service.asked) == 2


def test_the_next_master_is_found_through_a_worker(serve: Serve, pool: Pool) -> None:
    worker, master = ToyWorker(), ToyService()
    server, successor = serve(worker), serve(master)
    known = listing(1, [server.endpoint], master=dead_endpoint())
    worker.directory = known
    client = pool(server, directory=known)
    call = client.jvm.start("pin", client=client.number, query="q")
    with pytest.raises(FutureTimeoutError):
        call.result(0.5)  # the worker has the old master's port: it is none, and knows none
    worker.directory = master.directory = Directory(
        Revision(2, 1), "ready", 1, (Served(1, (server.endpoint,)),), successor.endpoint
    )
    assert call.result(60) == 1
    assert master.asked == [("q", "")]


def test_a_master_that_is_not_there_is_waited_for_as_long_as_for_workers(serve: Serve, pool: Pool) -> None:
    worker = ToyWorker()
    server = serve(worker)
    worker.directory = listing(1, [server.endpoint], master=dead_endpoint())
    error = refused(lambda: pin(pool(server, gone_s=0.2, ready_timeout_s=1.0), "q"))
    assert error.condition == "POOL_GONE"
    assert "its master settled no version within" in str(error)


def test_a_deadline_ends_the_wait_for_a_version(serve: Serve, pool: Pool, service: ToyService) -> None:
    def wait(deadline: float) -> None:
        raise PoolNotReadyError(WHAT, "it takes long")

    service.on_pin = wait
    client = pool(serve())
    assert refused(lambda: pin(client, "q", timeout_s=60.0)).condition == "POOL_NOT_READY"
    dead = pool(master=serve(ToyWorker()), directory=listing(1, [dead_endpoint()], master=dead_endpoint()))
    assert refused(lambda: pin(dead, "q", timeout_s=0.5)).condition == "POOL_BUSY"


# --- where batches go ---------------------------------------------------------------------------------------------


def test_a_batch_goes_to_the_version_that_its_query_is_held_to(serve: Serve, pool: Pool) -> None:
    toys, servers, directory = two_versions(serve)
    client = pool(*servers, directory=directory)
    for version in (1, 2, 1):
        answer = client.collect(client.submit(version, pin=version, query=f"q{version}", digest="d"))
        assert answer.parts["version"] == version
    assert [toy.seen for toy in toys] == [[1, 1], [2]]
    told = {"binding": "position", "digest": "d"}
    assert toys[0].opened == [{**told, "pin": 1, "query": "q1"}], "the second time its stream was open"
    assert toys[1].opened == [{**told, "pin": 2, "query": "q2"}]
    assert client.collect(client.submit(3)).parts["version"] == 2, "what is held to none goes where there is a weight"


def test_a_worker_of_another_version_sends_its_callers_to_the_right_one(serve: Serve, pool: Pool) -> None:
    toys, servers, _ = two_versions(serve)
    stale = listing(1, [servers[1].endpoint], version=1)
    client = pool(*servers, directory=stale, max_retries=0)
    answer = client.collect(client.submit(1, pin=1, query="q"))
    assert (answer.parts["version"], answer.parts["retries"]) == (1, 0)
    assert [toy.seen for toy in toys] == [[1], []]
    assert len(toys[1].opened) == 1
    assert client.open_connections == 2, "that to the wrong one is in order"


def test_a_worker_that_does_not_accept_the_plan_sends_its_callers_elsewhere(serve: Serve, pool: Pool) -> None:
    toys, servers, directory = two_versions(serve)
    toys[1].accepts = ("other",)
    entries = (Served(2, (servers[1].endpoint,), 1.0, ("mine",)),)  # what it accepts was learned wrong
    stale = listing(1, version=2, served=entries)
    newer = listing(5, version=2, served=(Served(1, (servers[0].endpoint,), 0.5, ("mine",)), directory.served[1]))
    for toy in toys:
        toy.directory = newer
    client = pool(*servers, directory=stale)
    assert client.collect(client.submit(1, digest="mine")).parts["version"] == 1
    assert toys[1].seen == []


def test_a_worker_that_opens_another_version_than_was_asked_is_not_trusted(serve: Serve, pool: Pool) -> None:
    class Loose(ToyWorker):
        def open(self, schema: Any, options: dict[str, Any]) -> Any:
            return super().open(schema, {**options, "pin": None})

    server = serve(Loose(version=2))
    client = pool(server, directory=listing(1, [server.endpoint], version=1))
    error = refused(lambda: client.score(1, pin=1, query="q"))
    assert error.condition == "PROTOCOL_ERROR"
    assert "version 1 was asked, 2 was opened" in str(error)
    assert client.open_connections == 0


def test_a_pool_without_workers_is_woken(serve: Serve, pool: Pool) -> None:
    worker, master = ToyWorker(), ToyService()
    server = serve(worker)
    go_on = threading.Event()

    def start(deadline: float) -> None:
        go_on.wait(60)
        master.directory = worker.directory = listing(8, [server.endpoint])

    master.on_pin = start
    master.directory = listing(2, (), "cold")
    client = pool(master=serve(master), directory=master.directory)
    submitted = client.submitted(3, pin=1, query="q", digest="d")
    with pytest.raises(FutureTimeoutError):
        submitted.result(1.5)  # with signs of life
    go_on.set()
    collected = client.collect(submitted.result(60))
    assert collected.values == [6]
    assert collected.parts["wait_ns"] > 1e9, "the wait is told"
    assert master.asked == [("q", "d")]
    assert client.open_connections == 1, "that to the worker"


def test_a_call_that_is_held_to_none_wakes_a_pool_too(serve: Serve, pool: Pool) -> None:
    worker, master = ToyWorker(version=4), ToyService(version=4)
    server = serve(worker)
    master.directory = listing(2, (), "cold", 4)
    master.on_pin = lambda deadline: setattr(master, "directory", listing(8, [server.endpoint], version=4))
    client = pool(master=serve(master), directory=master.directory)
    assert client.score(3) == [6]
    assert master.asked == [("", "")]


def test_a_version_that_ended_under_its_query_is_told_and_no_other_goes_on(serve: Serve, pool: Pool) -> None:
    master, worker = ToyService(version=2), ToyWorker(version=2)
    server = serve(worker)
    master.directory = worker.directory = listing(7, [server.endpoint], version=2)
    client = pool(master=serve(master), directory=master.directory)
    error = refused(lambda: client.score(1, pin=1, query="q"))
    assert error.condition == "VERSION_RETIRED"
    assert "held to version 1" in str(error)
    assert worker.seen == []


# --- limits and losses --------------------------------------------------------------------------------------------


def test_the_limits_of_now_are_those_of_the_pools_directory(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve()
    client = pool(server, max_retries=3, max_in_flight=2)

    def in_force() -> list[float]:
        return list(client.jvm.call("in_force", client=client.number))

    assert in_force() == [2, 3, 60, 300]
    limits = Limits(max_in_flight=5, max_retries=0, timeout_s=7.0, ready_timeout_s=8.0)
    service.directory = listing(2, [server.endpoint], limits=limits)
    assert client.score(1) == [2]
    assert in_force() == [5, 0, 7, 8], "one that runs has learned them from an answer"


def test_retries_are_those_of_now(pool: Pool) -> None:
    def hang_up(sock: socket.socket, _: int) -> None:
        sock.shutdown(socket.SHUT_RDWR)

    with contextlib.closing(Liar(hang_up)) as liar:
        now = listing(2, [liar.endpoint], limits=Limits(max_retries=0))
        error = refused(lambda: pool(liar, directory=now, max_retries=3).score(1))
        assert (error.condition, liar.batches) == ("WORKER_LOST", 1)


@contextlib.contextmanager
def black_holes(count: int) -> Iterator[list[tuple[str, int]]]:
    """Endpoints that take connections and say nothing, as those of a host that went dark behind a router."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        yield [listener.getsockname() for listener in listeners]


@pytest.mark.fault("F26")
def test_workers_that_are_all_out_of_reach_are_not_tried_for_ever(serve: Serve, pool: Pool) -> None:
    """The master is asked then; if it is not there either, the pool is gone. Both at the same time, for both wait."""
    live, master = ToyWorker(), ToyService()
    server = serve(live)
    with black_holes(3) as dark:
        known = listing(1, dark)
        nobody = Liar(say_nothing)
        nobody.close()
        gone = pool(master=nobody, directory=known, gone_s=1.0).submitted(1)
        client = pool(master=serve(master), directory=known)
        submitted = client.submitted(1)
        with pytest.raises(FutureTimeoutError):
            submitted.result(1)
        master.directory = live.directory = listing(2, [server.endpoint])
        assert client.collect(submitted.result(60)).values == [2], "the master is asked after a round"
        error = refused(lambda: gone.result(60))
    assert error.condition == "POOL_GONE"
    assert "neither its master nor a worker answers" in str(error)


@pytest.mark.fault("F15")
def test_a_batch_whose_worker_falls_silent_is_answered_by_another(serve: Serve, pool: Pool) -> None:
    with contextlib.closing(Liar(say_nothing)) as liar:
        server = serve()
        client = pool(liar, server, timeout_s=0.2, silence_s=0.4)
        retries = 0

        def score() -> bool:
            nonlocal retries
            collected = client.collect(client.submit(1))
            retries += collected.parts["retries"]
            return collected.values == [2] and liar.batches > 0

        wait_until(score, "it was tried there")
        assert retries == liar.batches


def test_a_silent_worker_is_given_up_when_the_deadline_or_the_retries_are_over(pool: Pool) -> None:
    with contextlib.closing(Liar(say_nothing)) as liar:
        strict = pool(liar, timeout_s=0.1, silence_s=0.2, max_retries=0)
        assert refused(lambda: strict.score(1)).condition == "WORKER_LOST"
        assert liar.batches == 1
        patient = pool(liar, timeout_s=60, silence_s=0.2, max_retries=3)
        assert refused(lambda: patient.score(1, timeout_s=0.4)).condition == "DEADLINE_EXCEEDED"
        assert liar.batches == 2


def test_an_answer_behind_a_sign_of_life_is_taken_after_the_deadline(
    serve: Serve, pool: Pool, service: ToyService
) -> None:
    client = pool(serve())
    with service.held():
        ticket = client.submit(1, timeout_s=2.5)
        wait_until(lambda: service.seen == [1], "it is in the model")
        threading.Event().wait(1.2)  # one sign of life
    threading.Event().wait(2)  # past the deadline; nobody has read what came
    assert client.collect(ticket).values == [2]


def test_an_idle_connection_whose_worker_takes_leave_costs_nothing(serve: Serve, pool: Pool) -> None:
    leaving, other = ToyWorker(), ToyWorker()
    first, second = serve(leaving), serve(other)
    client = pool(first, second, max_retries=0)
    for i in range(20):
        assert client.score(i) == [2 * i]
    first.close()
    for i in range(20):
        assert client.score(i) == [2 * i]


def test_a_worker_that_takes_leave_behind_a_batch_is_no_loss(serve: Serve, pool: Pool) -> None:
    farewell = p.to_json(WorkerStoppingError(WHAT, "nothing that came later was scored").to_dict())

    def leave(sock: socket.socket, _: int) -> None:
        p.send(sock, p.pack_answer(p.Answer(p.RETRY, 0, Revision(1, 1), payload=farewell)))
        sock.shutdown(socket.SHUT_RDWR)

    with contextlib.closing(Liar(leave)) as liar:
        client = pool(liar, serve(), max_retries=0)
        wait_until(lambda: client.score(1) == [2] and liar.batches > 0, "it was tried there")
