# SPDX-License-Identifier: Apache-2.0
"""The client of a pool when workers are lost, full, slow, replaced or not what they claim to be. Real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import (
    AuthenticationError,
    DeadlineExceededError,
    PoolBusyError,
    PoolGoneError,
    PredictTimeoutError,
    ProtocolError,
    ProtocolVersionError,
    SchemaMismatchError,
    WorkerLostError,
)
from sparkmodel.wire import locator as locator_module
from sparkmodel.wire import protocol as p
from sparkmodel.wire import receiver
from sparkmodel.wire.server import Server
from tests.unit.wire.liar import Liar, another_program, dead_endpoint, hang_up, say_nothing
from tests.unit.wire.test_client import idle, in_flight, score
from tests.unit.wire.toys import RESULT, HandleClient, ToyService, double, listing, numbers, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]


Lie = Callable[..., Liar]


@pytest.mark.fault("F1")
def test_a_batch_whose_worker_dies_is_answered_by_another_and_counted(serve: Serve, pool: Pool) -> None:
    services = [ToyService(), ToyService()]
    servers = [serve(toy) for toy in services]
    client = pool(*servers)
    for toy in services:
        toy.hold()
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(score, client, 21)
        wait_until(lambda: sum(len(toy.seen) for toy in services) == 1, "the batch is in a model")
        dying = services.index(next(toy for toy in services if toy.seen))
        servers[dying].close()
        services[1 - dying].release()
        assert result.result(120) == [42]
    assert services[1 - dying].seen == [21]
    assert client.retries == 1


@pytest.mark.fault("F1")
def test_a_worker_that_dies_under_load_costs_no_batch_and_doubles_none(serve: Serve, pool: Pool) -> None:
    services = [ToyService() for _ in range(3)]
    servers = [serve(toy) for toy in services]
    client = pool(*servers, max_in_flight=4)

    def run(caller: int) -> list[Any]:
        batches = (numbers(caller * 1000 + i) for i in range(200))
        return [array.to_pylist() for array in client.predict(batches, False)]

    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(run, caller) for caller in range(4)]
        wait_until(lambda: len(services[0].seen) > 20, "the load is on")
        servers[0].close()
        assert [r.result(120) for r in results] == [[[2 * (c * 1000 + i)] for i in range(200)] for c in range(4)]
    assert in_flight(client) == 0


def test_a_batch_that_loses_worker_after_worker_fails_with_a_condition(pool: Pool, lie: Lie) -> None:
    liar = lie(hang_up)
    client = pool(liar, liar, max_retries=2)
    with pytest.raises(WorkerLostError, match="1 row of batch 1 lost 3 workers") as caught:
        score(client, 1)
    assert "may crash the model" in caught.value.hint
    assert (liar.batches, client.retries, in_flight(client)) == (3, 3, 0)


def test_a_batch_is_never_sent_twice_without_retries(pool: Pool, lie: Lie, serve: Serve, service: ToyService) -> None:
    liar = lie(hang_up)
    with pytest.raises(WorkerLostError, match="lost 1 worker "):
        score(pool(liar, max_retries=0), 1)
    assert liar.batches == 1


def test_a_worker_that_cannot_be_reached_counts_as_no_loss(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve()
    directory = listing(1, (dead_endpoint(), server.endpoint, dead_endpoint()), "ready", 1)
    client = pool(server, directory=directory, max_retries=0)
    assert [score(client, i) for i in range(20)] == [[2 * i] for i in range(20)]
    assert client.retries == 0


def test_a_kept_connection_that_was_closed_meanwhile_counts_as_no_loss(serve: Serve, pool: Pool) -> None:
    server = serve()
    client = pool(server, max_retries=0)
    for i in range(3):
        assert score(client, i) == [2 * i]
        for session in server._open_sessions():
            session.close()
        wait_until(lambda: "0 connections" in repr(server), "the connection has gone")
    assert client.retries == 0


def test_a_pool_of_which_nobody_answers_is_gone(serve: Serve, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locator_module, "_GONE_S", 0.3)
    servers = [serve(ToyService()), serve(ToyService())]
    client = pool(*servers)
    assert score(client, 1) == [2]
    for server in servers:
        server.close()
    with pytest.raises(PoolGoneError, match="neither its master nor a worker answers"):
        score(client, 1)
    assert in_flight(client) == 0


def test_a_pool_that_was_dropped_is_gone_at_once(serve: Serve, pool: Pool) -> None:
    master = ToyService()
    master.directory = listing(7, (), "stopped", 1)
    client = pool(serve(master), directory=listing(1, (dead_endpoint(),), "ready", 1))
    with pytest.raises(PoolGoneError, match="it was dropped"):
        score(client, 1)


def test_a_pool_whose_address_another_pool_has_is_gone(serve: Serve, pool: Pool) -> None:
    other = serve(ToyService(token="another pool's"))
    with pytest.raises(PoolGoneError, match="another pool has its address") as caught:
        score(pool(other), 1)
    assert isinstance(caught.value.__cause__, AuthenticationError)


def test_a_worker_whose_port_another_pool_has_is_passed_over(serve: Serve, pool: Pool) -> None:
    foreign = ToyService(token="another pool's")
    client = pool(serve(foreign), serve(ToyService()), master=serve(ToyService()))
    assert [score(client, i) for i in range(10)] == [[2 * i] for i in range(10)]
    assert foreign.opened == []


def test_a_worker_whose_port_another_program_has_is_passed_over(serve: Serve, pool: Pool) -> None:
    with another_program() as endpoint:
        live = serve()
        client = pool(live, directory=listing(1, (endpoint, live.endpoint), "ready", 1))
        assert [score(client, i) for i in range(10)] == [[2 * i] for i in range(10)]


@pytest.mark.fault("F24")
def test_a_worker_of_another_protocol_version_is_named(pool: Pool, lie: Lie) -> None:
    client = pool(lie(hang_up, version=2))
    with pytest.raises(ProtocolVersionError, match="speaks protocol version 2, this side 3"):
        score(client, 1)


def test_a_stale_handle_heals_through_the_master(serve: Serve, pool: Pool, service: ToyService) -> None:
    live = serve()
    master = ToyService()
    master.directory = listing(5, (live.endpoint,), "ready", 1)
    stale = listing(1, (dead_endpoint(), dead_endpoint()), "ready", 1)
    client = pool(master=serve(master), directory=stale)
    assert score(client, 3) == [6]
    assert client._router.directory.revision.number == 5
    assert (service.seen, master.opened) == ([3], [])


@pytest.mark.fault("F26")
def test_a_pool_that_heals_is_waited_for(serve: Serve, pool: Pool) -> None:
    live = serve()
    master = ToyService()
    master.directory = listing(2, (), "healing", 1)
    client = pool(master=serve(master), directory=master.directory)
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(score, client, 3)
        with pytest.raises(TimeoutError):
            result.result(0.3)
        master.directory = listing(3, (live.endpoint,), "ready", 1)
        assert result.result(120) == [6]


def test_a_pool_that_does_not_heal_in_time_is_gone(serve: Serve, pool: Pool) -> None:
    master = ToyService()
    master.directory = listing(2, (), "healing", 1)
    client = pool(master=serve(master), directory=master.directory, ready_timeout_s=0.2)
    with pytest.raises(PoolGoneError, match="no worker came back"):
        score(client, 3)


def test_callers_learn_new_workers_from_the_answers_of_old_ones(serve: Serve, pool: Pool) -> None:
    old, new = ToyService(), ToyService()
    old_server, new_server = serve(old), serve(new)
    client = pool(old_server)
    assert score(client, 1) == [2]
    old.directory = new.directory = listing(2, (new_server.endpoint,), "ready", 2)
    assert score(client, 2) == [4], "the old worker still answers, and tells"
    assert [score(client, i) for i in (3, 4)] == [[6], [8]]
    assert (old.seen, new.seen) == ([1, 2], [3, 4])
    wait_until(lambda: "0 connections" in repr(old_server), "the old worker is left alone")


def test_a_worker_that_stops_sends_its_callers_elsewhere_uncounted(serve: Serve, pool: Pool) -> None:
    stopping, other = ToyService(), ToyService()
    server = serve(stopping)
    client = pool(server, serve(other), max_retries=0)
    server.gate.stopping = True
    assert [score(client, i) for i in range(10)] == [[2 * i] for i in range(10)]
    assert (stopping.seen, client.retries) == ([], 0)


@pytest.mark.fault("F25")
def test_full_queues_hold_callers_back_and_do_not_fail_them(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve(max_queued=0)
    client = pool(server)
    with service.held(), ThreadPoolExecutor(8) as threads:
        results = [threads.submit(score, client, i) for i in range(8)]
        wait_until(lambda: len(service.seen) == 1, "one is in the model")
        with pytest.raises(TimeoutError):
            results[-1].result(0.2)
        service.release()
        assert [r.result(120) for r in results] == [[2 * i] for i in range(8)]
    assert sorted(service.seen) == list(range(8))
    assert client.retries == 0


def test_a_pool_that_is_full_until_the_deadline_says_so(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve(max_queued=0)
    client = pool(server)
    with service.held(), ThreadPoolExecutor(1) as threads:
        first = threads.submit(score, client, 1)
        wait_until(lambda: service.seen == [1], "one is in the model")
        with pytest.raises(PoolBusyError, match="until the deadline"):
            score(client, 2, timeout_s=0.3)
        service.release()
        assert first.result(120) == [2]
    assert service.seen == [1]


def test_a_deadline_that_passes_in_the_queue_is_an_error_and_the_batch_is_never_scored(
    serve: Serve, pool: Pool, service: ToyService
) -> None:
    server = serve()
    client = pool(server)
    with service.held(), ThreadPoolExecutor(1) as threads:
        first = threads.submit(score, client, 1)
        wait_until(lambda: service.seen == [1], "one is in the model")
        with pytest.raises(DeadlineExceededError):
            score(client, 2, timeout_s=0.3)
        wait_until(lambda: server.gate.load == 1, "the worker drops it")
        service.release()
        assert first.result(120) == [2]
    assert score(client, 3) == [6]
    assert service.seen == [1, 3]


def test_a_deadline_that_passes_in_the_model_is_an_error_and_the_late_answer_goes_nowhere(
    serve: Serve, pool: Pool, service: ToyService
) -> None:
    client = pool(serve())
    with service.held(), pytest.raises(DeadlineExceededError):
        score(client, 1, timeout_s=0.3)
    assert [score(client, i) for i in (2, 3)] == [[4], [6]]
    assert in_flight(client) == 0


@pytest.mark.fault("F5")
def test_a_batch_that_hangs_fails_alone_and_those_behind_it_go_to_another_worker(serve: Serve, pool: Pool) -> None:
    hanging, other = ToyService(), ToyService()
    ended = threading.Event()
    server = serve(hanging, timeout_s=0.5, on_hang=ended.set)
    client = pool(server)
    with hanging.held(), ThreadPoolExecutor(4) as threads:
        victim = threads.submit(score, client, 666)
        wait_until(lambda: hanging.seen == [666], "the batch is in the model")
        waiting = [threads.submit(score, client, i) for i in range(3)]
        wait_until(lambda: server.gate.load == 4, "three wait behind it")
        hanging.directory = listing(2, (serve(other).endpoint,), "ready", 1)
        with pytest.raises(PredictTimeoutError, match=r"timeout_s=0\.5"):
            victim.result(120)
        assert [r.result(120) for r in waiting] == [[0], [2], [4]]
    wait_until(ended.is_set, "the worker is told to end")
    assert sorted(other.seen) == [0, 1, 2]
    assert client.retries == 0


def test_the_connection_of_a_batch_that_hung_is_not_used_again(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve(timeout_s=0.5))
    with service.held(), pytest.raises(PredictTimeoutError):
        score(client, 1)
    assert (idle(client), in_flight(client)) == (0, 0)


@pytest.mark.fault("F15")
def test_a_worker_that_gives_no_sign_of_life_is_a_lost_one(
    pool: Pool, lie: Lie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "SILENCE_S", 0.2)
    liar = lie(say_nothing)
    client = pool(liar, timeout_s=0.1, max_retries=1)
    with pytest.raises(WorkerLostError, match=r"lost 2 workers before an answer came .*silent for 0\.3 s"):
        score(client, 1)
    assert (liar.batches, in_flight(client)) == (2, 0)


def test_a_stream_that_takes_long_to_open_is_waited_for(serve: Serve, pool: Pool, service: ToyService) -> None:
    service.on_open = lambda: time.sleep(2.5)  # a worker tells every second that it lives
    assert score(pool(serve()), 1) == [2]


def test_a_misfit_of_columns_is_seen_by_the_caller(serve: Serve, pool: Pool, service: ToyService) -> None:
    def refuse() -> None:
        raise SchemaMismatchError("Cannot score with 'toy'", "column 'a' is missing", "pass it")

    service.on_open = refuse
    client = pool(serve())
    with pytest.raises(SchemaMismatchError, match="column 'a' is missing"):
        score(client, 1)
    service.on_open = lambda: None
    assert (score(client, 2), in_flight(client), client.retries) == ([4], 0, 0)


def reply(status: int, payload: bytes, shift: int = 0) -> Callable[[socket.socket, int], None]:
    def on_batch(sock: socket.socket, seq: int) -> None:
        p.send(sock, p.pack_answer(p.Answer(status, seq + shift, payload=payload)))

    return on_batch


@pytest.mark.parametrize(
    ("on_batch", "fact"),
    [
        (
            reply(p.OK, bytes(p.batch_to_buffer(pa.record_batch([double(numbers(1))], schema=RESULT))), 1),
            "was answered",
        ),
        (reply(p.OK, b"garbage"), "cannot be read"),
        (reply(p.OK, b""), "cannot be read"),
        (reply(p.ERROR, b"garbage"), "not JSON"),
        (lambda sock, _: sock.sendall(b"\xff" * p.ANSWER.size), "unknown answer status 255"),
    ],
    ids=["wrong number", "bad batch", "no batch", "bad error", "bad status"],
)
@pytest.mark.fault("F27")
def test_an_answer_that_cannot_be_trusted_is_a_protocol_error_and_leaves_nothing_behind(
    on_batch: Callable[[socket.socket, int], None], fact: str, pool: Pool, lie: Lie
) -> None:
    client = pool(lie(on_batch))
    with pytest.raises(ProtocolError, match=fact):
        score(client, 1)
    assert (in_flight(client), idle(client)) == (0, 0)


def test_an_answer_with_another_number_of_rows_is_never_taken(pool: Pool, lie: Lie) -> None:
    short = bytes(p.batch_to_buffer(pa.record_batch([double(numbers(1))], schema=RESULT)))
    with pytest.raises(ProtocolError, match="rows"):
        score(pool(lie(reply(p.OK, short))), 1, 2, 3)


def test_an_error_about_the_connection_reaches_the_caller_although_it_has_no_number(pool: Pool, lie: Lie) -> None:
    error = AuthenticationError("Cannot score with 'toy'", "no longer welcome").to_dict()
    client = pool(lie(lambda sock, _: p.send(sock, p.pack_answer(p.Answer(p.ERROR, 0, payload=p.to_json(error))))))
    with pytest.raises(AuthenticationError, match="no longer welcome"):
        score(client, 1)
