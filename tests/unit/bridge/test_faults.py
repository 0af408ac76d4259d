# SPDX-License-Identifier: Apache-2.0
"""The bridge's client when workers are lost, full, slow, replaced or not what they claim to be. Real sockets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError  # the builtin one since Python 3.11
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sparkmodel.errors import AuthenticationError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Revision
from sparkmodel.wire.server import Server
from tests.bridge import JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.wire.liar import Liar, another_program, dead_endpoint, hang_up, say_nothing
from tests.unit.wire.toys import RESULT, ToyService, double, greet, listing, numbers, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., Client]
Lie = Callable[..., Liar]


def refused(client: Client, *values: float, **more: Any) -> JvmError:
    """The error that scoring a batch ends with."""
    with pytest.raises(JvmError) as caught:
        client.score(*values, **more)
    return caught.value


@pytest.mark.fault("F1")
def test_a_batch_whose_worker_dies_is_answered_by_another_and_counted(serve: Serve, pool: Pool) -> None:
    services = [ToyService(), ToyService()]
    servers = [serve(toy) for toy in services]
    client = pool(*servers)
    for toy in services:
        toy.hold()
    ticket = client.submit(21)
    wait_until(lambda: sum(len(toy.seen) for toy in services) == 1, "the batch is in a model")
    dying = services.index(next(toy for toy in services if toy.seen))
    servers[dying].close()
    services[1 - dying].release()
    wait_until(lambda: client.is_ready(ticket), "the loss can be seen without waiting")
    collected = client.collect(ticket)
    assert collected.values == [42]
    assert collected.parts["retries"] == 1
    assert collected.parts["sent_bytes"] == 2 * (p.REQUEST.size + len(p.batch_to_buffer(numbers(21))))
    assert services[1 - dying].seen == [21]
    assert client.open_connections == 1


def test_a_batch_that_loses_worker_after_worker_fails_with_a_condition(pool: Pool, lie: Lie) -> None:
    liar = lie(hang_up)
    client = pool(liar, liar, max_retries=2)
    error = refused(client, 1)
    assert error.condition == "WORKER_LOST"
    assert "on 3 workers that died" in error.parts["fact"]
    assert "may crash the model" in error.parts["hint"]
    assert (liar.batches, client.open_connections) == (3, 0)


def test_a_batch_is_never_sent_twice_without_retries(pool: Pool, lie: Lie) -> None:
    liar = lie(hang_up)
    assert refused(pool(liar, max_retries=0), 1).condition == "WORKER_LOST"
    assert liar.batches == 1


def test_a_worker_that_cannot_be_reached_counts_as_no_loss(serve: Serve, pool: Pool) -> None:
    server = serve()
    directory = listing(1, (dead_endpoint(), server.endpoint, dead_endpoint()), "ready", 1)
    client = pool(server, directory=directory, max_retries=0)
    assert [client.score(i) for i in range(20)] == [[2 * i] for i in range(20)]


def test_a_kept_connection_that_was_closed_meanwhile_counts_as_no_loss(serve: Serve, pool: Pool) -> None:
    server = serve()
    client = pool(server, max_retries=0)
    for i in range(3):
        assert client.score(i) == [2 * i]
        for session in server._open_sessions():
            session.close()
        wait_until(lambda: "0 connections" in repr(server), "the connection has gone")
    assert client.open_connections == 1


def test_a_batch_that_breaks_off_as_it_is_sent_goes_elsewhere(pool: Pool, serve: Serve, service: ToyService) -> None:
    class Impatient(Liar):
        """Takes 64 KiB of a batch and dies."""

        def _serve(self, sock: socket.socket) -> None:
            with contextlib.suppress(OSError, EOFError), sock:
                greet(sock)
                greeting = {**GREETING, "max_batch_bytes": 1 << 30}
                p.send(sock, p.pack_answer(p.Answer(p.INFO, 0, FIRST, payload=p.to_json(greeting))))
                p.read_request(sock, 0, "liar")
                p.send(sock, p.pack_answer(p.Answer(p.INFO, 0, FIRST, payload=p.to_json(OPENED))))
                sock.recv(1 << 16, socket.MSG_WAITALL)
                self.batches += 1

    service.predict = lambda batch: pc.multiply(batch.column(0), 2.0)
    liar, other = Impatient(hang_up), Impatient(hang_up)
    live = serve()
    client = pool(liar, live, max_retries=1)
    values = list(range(700_000))  # more than sockets hold
    try:
        wait_until(lambda: client.score(*values)[-1] == 2 * values[-1] and liar.batches > 0, "it was tried there")
        error = refused(pool(liar, other, max_retries=1), *values)
    finally:
        liar.close()
        other.close()
    assert error.condition == "WORKER_LOST"
    assert "a batch ended 2 workers of version 1 as they received it" in error.parts["fact"]


FIRST = Revision(1, 1)
GREETING = {"max_batch_bytes": 1 << 20, **listing(1).to_dict()}
OPENED = {"schema": p.schema_to_text(RESULT), "version": 1}


def test_a_pool_of_which_nobody_answers_is_gone(serve: Serve, pool: Pool) -> None:
    servers = [serve(ToyService()), serve(ToyService())]
    client = pool(*servers, gone_s=0.3)
    assert client.score(1) == [2]
    for server in servers:
        server.close()
    error = refused(client, 1)
    assert error.condition == "POOL_GONE"
    assert "neither its master nor a worker answers" in str(error)
    assert client.open_connections == 0


def test_a_pool_that_was_dropped_is_gone_at_once(serve: Serve, pool: Pool) -> None:
    master = ToyService()
    master.directory = listing(7, (), "stopped", 1)
    error = refused(pool(serve(master), directory=listing(1, (dead_endpoint(),), "ready", 1)), 1)
    assert error.condition == "POOL_GONE"
    assert "it was dropped" in str(error)


def test_a_pool_whose_address_another_pool_has_is_gone(serve: Serve, pool: Pool) -> None:
    error = refused(pool(serve(ToyService(token="another pool's"))), 1)
    assert error.condition == "POOL_GONE"
    assert "another pool has its address" in str(error)


def test_a_worker_whose_port_another_pool_has_is_passed_over(serve: Serve, pool: Pool) -> None:
    foreign = ToyService(token="another pool's")
    client = pool(serve(foreign), serve(ToyService()), master=serve(ToyService()))
    assert [client.score(i) for i in range(10)] == [[2 * i] for i in range(10)]
    assert foreign.opened == []


def test_a_worker_whose_port_another_program_has_is_passed_over(serve: Serve, pool: Pool) -> None:
    with another_program() as endpoint:
        live = serve()
        client = pool(live, directory=listing(1, (endpoint, live.endpoint), "ready", 1))
        assert [client.score(i) for i in range(10)] == [[2 * i] for i in range(10)]


@pytest.mark.fault("F24")
def test_a_worker_of_another_protocol_version_is_named(pool: Pool, lie: Lie) -> None:
    error = refused(pool(lie(hang_up, version=1)), 1)
    assert error.condition == "PROTOCOL_VERSION_MISMATCH"
    assert "speaks protocol version 1, this side 3" in str(error)


def test_a_stale_handle_heals_through_the_master(serve: Serve, pool: Pool, service: ToyService) -> None:
    live = serve()
    master = ToyService()
    master.directory = listing(5, (live.endpoint,), "ready", 1)
    stale = listing(1, (dead_endpoint(), dead_endpoint()), "ready", 1)
    client = pool(master=serve(master), directory=stale)
    assert client.score(3) == [6]
    assert (service.seen, master.opened) == ([3], [])
    assert client.open_connections == 1


@pytest.mark.fault("F26")
def test_a_pool_that_heals_is_waited_for(serve: Serve, pool: Pool) -> None:
    live = serve()
    master = ToyService()
    master.directory = listing(2, (), "healing", 1)
    client = pool(master=serve(master), directory=master.directory)
    submitted = client.submitted(3)
    with pytest.raises(FutureTimeoutError):
        submitted.result(0.3)
    master.directory = listing(3, (live.endpoint,), "ready", 1)
    assert client.collect(submitted.result(60)).values == [6]


def test_a_pool_that_does_not_heal_in_time_is_gone(serve: Serve, pool: Pool) -> None:
    master = ToyService()
    master.directory = listing(2, (), "healing", 1)
    error = refused(pool(master=serve(master), directory=master.directory, ready_timeout_s=0.2), 3)
    assert error.condition == "POOL_GONE"
    assert "no worker came back" in str(error)


def test_callers_learn_new_workers_from_the_answers_of_old_ones(serve: Serve, pool: Pool) -> None:
    old, new = ToyService(), ToyService()
    old_server, new_server = serve(old), serve(new)
    client = pool(old_server)
    assert client.score(1) == [2]
    old.directory = new.directory = listing(2, (new_server.endpoint,), "ready", 2)
    assert client.score(2) == [4], "the old worker still answers, and tells"
    assert [client.score(i) for i in (3, 4)] == [[6], [8]]
    assert (old.seen, new.seen) == ([1, 2], [3, 4])
    wait_until(lambda: "0 connections" in repr(old_server), "the old worker is left alone")
    assert client.open_connections == 1


def test_a_worker_that_stops_sends_its_callers_elsewhere_uncounted(serve: Serve, pool: Pool) -> None:
    stopping, other = ToyService(), ToyService()
    server = serve(stopping)
    client = pool(server, serve(other), max_retries=0)
    server.gate.stopping = True
    assert [client.score(i) for i in range(10)] == [[2 * i] for i in range(10)]
    assert stopping.seen == []
    assert client.open_connections == 1, "that to the other"


def test_full_queues_hold_callers_back_and_do_not_fail_them(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve(max_queued=0))
    with service.held():
        tickets = [client.submit(i) for i in range(8)]
        wait_until(lambda: len(service.seen) == 1, "one is in the model")
        results = [client.jvm.start("collect", ticket=ticket) for ticket in tickets]
        with pytest.raises(FutureTimeoutError):
            results[-1].result(0.3)
    assert [result.result(60)["retries"] for result in results] == [0] * 8
    assert sorted(service.seen) == list(range(8)), "each was scored once"


def test_a_deadline_ends_the_wait_for_a_full_or_slow_pool(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve(max_queued=0)
    client = pool(server)
    with service.held():
        first = client.submit(1)
        wait_until(lambda: service.seen == [1], "one is in the model")
        assert refused(client, 2, timeout_s=0.3).condition == "POOL_BUSY"
    assert client.collect(first).values == [2]
    with service.held():
        assert refused(client, 3, timeout_s=0.3).condition == "DEADLINE_EXCEEDED"
    assert client.score(4, timeout_s=60) == [8]


@pytest.mark.fault("F5")
def test_a_batch_that_hangs_fails_alone_and_those_behind_it_go_to_another_worker(serve: Serve, pool: Pool) -> None:
    hanging, other = ToyService(), ToyService()
    server = serve(hanging, timeout_s=0.5)
    client = pool(server)
    with hanging.held():
        victim = client.submit(666)
        wait_until(lambda: hanging.seen == [666], "the batch is in the model")
        waiting = [client.submit(i) for i in range(3)]
        wait_until(lambda: server.gate.load == 4, "three wait behind it")
        hanging.directory = listing(2, (serve(other).endpoint,), "ready", 1)
        with pytest.raises(JvmError, match=r"timeout_s=0\.5") as caught:
            client.collect(victim)
        assert caught.value.condition == "PREDICT_TIMEOUT"
        collected = [client.collect(ticket) for ticket in waiting]
    assert [c.values for c in collected] == [[0], [2], [4]]
    assert [c.parts["retries"] for c in collected] == [0, 0, 0]
    assert sorted(other.seen) == [0, 1, 2]


def test_the_connection_of_a_batch_that_hung_is_not_used_again(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve(timeout_s=0.5))
    with service.held():
        assert refused(client, 1).condition == "PREDICT_TIMEOUT"
    assert client.open_connections == 0


@pytest.mark.fault("F15")
def test_a_worker_that_gives_no_sign_of_life_is_given_up(pool: Pool, lie: Lie) -> None:
    client = pool(lie(say_nothing), timeout_s=0.1, silence_s=0.3, max_retries=0)
    error = refused(client, 1)
    assert error.condition == "WORKER_LOST"
    assert "silent for 0.4 s" in str(error)
    assert client.open_connections == 0


def reply(status: int, payload: bytes, shift: int = 0) -> Callable[[socket.socket, int], None]:
    def on_batch(sock: socket.socket, seq: int) -> None:
        p.send(sock, p.pack_answer(p.Answer(status, seq + shift, FIRST, payload=payload)))

    return on_batch


ONE_ROW = bytes(p.batch_to_buffer(pa.record_batch([double(numbers(1))], schema=RESULT)))
HUGE = p.ANSWER.pack(p.OK, 1, 1, 1, 0, 0, 0, 1 << 40)


@pytest.mark.parametrize(
    ("on_batch", "fact"),
    [
        (reply(p.OK, ONE_ROW, 1), "batch 1 was asked, 2 was answered"),
        (reply(p.ALIVE, b"", 1), "batch 1 was asked, 2 was answered"),
        (reply(p.OK, ONE_ROW), "2 rows were asked, 1 were answered"),
        (reply(p.OK, b"garbage!"), "cannot be read"),
        (reply(p.OK, b""), "cannot be read"),
        (reply(p.ERROR, b"garbage"), "not JSON"),
        (reply(p.ERROR, b"[]"), "not a JSON object"),
        (lambda sock, _: sock.sendall(b"\xff" * p.ANSWER.size), "unknown answer status 255"),
        (lambda sock, _: sock.sendall(HUGE), "has 1099511627776 bytes"),
    ],
    ids=["number", "alive number", "rows", "bad batch", "no batch", "bad error", "list", "bad status", "huge"],
)
@pytest.mark.fault("F27")
def test_an_answer_that_cannot_be_trusted_is_a_protocol_error_and_leaves_nothing_behind(
    on_batch: Callable[[socket.socket, int], None], fact: str, pool: Pool, lie: Lie
) -> None:
    client = pool(lie(on_batch))
    error = refused(client, 1, 2)
    assert error.condition == "PROTOCOL_ERROR"
    assert fact in str(error)
    assert client.open_connections == 0


def test_an_answer_that_breaks_off_is_a_loss(pool: Pool, lie: Lie, serve: Serve, service: ToyService) -> None:
    def half(sock: socket.socket, seq: int) -> None:
        sock.sendall(b"".join(bytes(part) for part in p.pack_answer(p.Answer(p.OK, seq, FIRST, payload=ONE_ROW)))[:-4])
        hang_up(sock, seq)

    liar = lie(half)
    live = serve()
    client = pool(liar, live)
    retries = 0

    def score() -> bool:
        nonlocal retries
        collected = client.collect(client.submit(1))
        retries += collected.parts["retries"]
        return collected.values == [2] and liar.batches > 0

    wait_until(score, "it was tried there")
    assert retries == liar.batches


def test_an_error_about_the_connection_reaches_the_caller_although_it_has_no_number(pool: Pool, lie: Lie) -> None:
    payload = p.to_json(AuthenticationError("Cannot score with 'toy'", "no longer welcome").to_dict())
    error = refused(
        pool(lie(lambda sock, _: p.send(sock, p.pack_answer(p.Answer(p.ERROR, 0, FIRST, payload=payload))))), 1
    )
    assert error.condition == "AUTHENTICATION_FAILED"
    assert "no longer welcome" in str(error)
