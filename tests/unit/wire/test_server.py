# SPDX-License-Identifier: Apache-2.0
"""Queue, deadlines, keepalive, hanging models and the end of a server. Real sockets, a toy model."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable

import pyarrow as pa
import pytest

from sparkmodel.wire import protocol as p
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import RawClient, ToyService, numbers, wait_until

Raw = Callable[[Server], RawClient]
Serve = Callable[..., Server]


def fill(server: Server, connect: Raw, service: ToyService, waiting: int = 0) -> list[RawClient]:
    """Occupy a held model with batch 0, and the queue with batches 1, 2, ... from a connection each."""
    clients: list[RawClient] = []
    for i in range(waiting + 1):
        clients.append(connect(server))
        clients[-1].batch(1, i)
        wait_until(lambda: server.gate.load == len(clients), "the batch is counted")
        wait_until(lambda: service.seen == [0], "the first batch is in the model")
    return clients


def test_a_model_is_called_by_one_thread_at_a_time(serve: Serve, connect: Raw, service: ToyService) -> None:
    server = serve()
    with service.held():
        clients = fill(server, connect, service, waiting=5)
        assert (service.seen, len(server.gate.running())) == ([0], 1)
    assert [client.values(1) for client in clients] == [[2 * i] for i in range(6)]
    assert sorted(service.seen) == list(range(6))


def test_as_many_batches_enter_the_model_as_it_was_registered_for(
    serve: Serve, connect: Raw, service: ToyService
) -> None:
    server = serve(max_concurrency=3)
    with service.held():
        clients = [connect(server) for _ in range(5)]
        for i, client in enumerate(clients):
            client.batch(1, i)
        wait_until(lambda: server.gate.load == 5, "all batches have arrived")
        wait_until(lambda: len(service.seen) == 3, "three batches are in the model")
        assert len(server.gate.running()) == 3
    assert [client.values(1) for client in clients] == [[2 * i] for i in range(5)]


@pytest.mark.fault("F25")
def test_a_full_queue_sends_the_caller_elsewhere_and_costs_those_who_wait_nothing(
    serve: Serve, connect: Raw, service: ToyService
) -> None:
    server = serve(max_queued=2)
    with service.held():
        clients = fill(server, connect, service, waiting=2)
        late = connect(server)
        late.batch(9, 9)
        answer = late.answer()
        assert (answer.status, answer.seq, answer.load) == (p.RETRY, 9, 3)
        assert p.from_json(answer.payload, "test")["condition"] == "POOL_BUSY"
    assert [client.values(1) for client in clients] == [[0], [2], [4]]
    late.batch(10, 9)
    assert late.values(10) == [18]
    assert service.seen.count(9) == 1


def test_a_batch_whose_deadline_passes_in_the_queue_is_never_scored(
    serve: Serve, connect: Raw, service: ToyService
) -> None:
    server = serve()
    late = connect(server)
    with service.held():
        (first,) = fill(server, connect, service)
        late.batch(5, 111, budget_ms=1)
        assert late.condition(p.ERROR, seq=5) == "DEADLINE_EXCEEDED"
    assert first.values(1) == [0]
    late.batch(6, 6, budget_ms=60_000)
    assert late.values(6) == [12]
    assert service.seen == [0, 6]


@pytest.mark.fault("F14")
def test_a_batch_whose_caller_has_gone_is_never_scored(serve: Serve, connect: Raw, service: ToyService) -> None:
    server = serve()
    with service.held():
        first, gone, last = fill(server, connect, service, waiting=2)
        gone.sock.close()
        wait_until(lambda: server.gate.load == 2, "the batch of the caller that has gone is dropped")
    assert (first.values(1), last.values(1)) == ([0], [4])
    assert service.seen == [0, 2]


@pytest.mark.fault("F13")
def test_batches_in_flight_behind_one_whose_caller_has_gone_are_never_scored(
    serve: Serve, connect: Raw, service: ToyService
) -> None:
    server = serve()
    gone = connect(server)
    with service.held():
        (first,) = fill(server, connect, service)
        gone.say(*(bytes(part) for i in range(3) for part in p.pack_request(p.BATCH, i, p.batch_to_buffer(numbers(7)))))
        wait_until(lambda: server.gate.load == 2, "the first of three waits")
        gone.sock.close()
        wait_until(lambda: server.gate.load == 1, "it is dropped")
    assert first.values(1) == [0]
    wait_until(lambda: "1 connections" in repr(server), "the server is done with the caller that has gone")
    assert service.seen == [0]


def test_callers_hear_from_the_worker_while_the_model_works_and_while_they_wait(
    serve: Serve, connect: Raw, service: ToyService
) -> None:
    server = serve()
    with service.held():
        clients = fill(server, connect, service, waiting=1)
        for client in clients:
            for _ in range(2):
                answer = client.answer(alive=True)
                assert (answer.status, answer.seq, answer.load, bytes(answer.payload)) == (p.ALIVE, 1, 2, b"")
    assert [client.values(1) for client in clients] == [[0], [2]]


def test_a_caller_without_a_batch_hears_nothing(
    serve: Serve, connect: Raw, service: ToyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(p, "KEEPALIVE_S", 0.01)
    server = serve()
    quiet = connect(server)
    with service.held():
        (busy,) = fill(server, connect, service)
        for _ in range(20):
            assert busy.answer(alive=True).status == p.ALIVE
    busy.values(1)
    quiet.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        quiet.sock.recv(1)


def test_a_client_that_does_not_read_does_not_stop_the_watch_for_hangs(
    serve: Serve, service: ToyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(p, "KEEPALIVE_S", 0.001)

    def is_noticed(timeout_s: float) -> bool:
        """Whether the hang is noticed; False if it was before the client's socket was full."""
        hung = threading.Event()
        server = serve(timeout_s=timeout_s, on_hang=hung.set)
        with RawClient(server.endpoint, receive_bytes=2048) as deaf:
            deaf.hello()
            deaf.open()
            (session,) = server._open_sessions()
            # small, so that a few frames fill it, as large answers to several batches in flight would
            session._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)

            def is_full() -> bool:
                return not select.select([], [session._sock], [], 0)[1]

            with service.held():
                deaf.batch(1, 1)
                wait_until(lambda: hung.is_set() or is_full(), "nothing more can be sent to it")
                if hung.is_set():
                    return False
                wait_until(hung.is_set, "the hanging model is noticed")
                return True

    assert any(is_noticed(timeout_s) for timeout_s in (1.0, 10.0, 60.0)), "too late to be a test of this"


@pytest.fixture
def hangs() -> list[float]:
    """Grows with each call of on_hang."""
    return []


@pytest.mark.fault("F5")
def test_a_batch_that_hangs_is_answered_and_the_worker_ends(
    serve: Serve, connect: Raw, service: ToyService, hangs: list[float]
) -> None:
    server = serve(timeout_s=1.0, on_hang=lambda: hangs.append(time.monotonic()))
    service.hold()
    clients = fill(server, connect, service, waiting=2)
    assert clients[0].condition(p.ERROR, seq=1) == "PREDICT_TIMEOUT"
    assert [client.condition(p.RETRY, seq=1) for client in clients[1:]] == ["WORKER_STOPPING"] * 2
    newcomer = connect(server)
    newcomer.batch(1, 9)
    assert newcomer.condition(p.RETRY, seq=1) == "WORKER_STOPPING"
    wait_until(lambda: bool(hangs), "on_hang is called")
    service.release()
    clients[0].batch(2, 5)  # the answer of the hung batch must not come after all
    assert clients[0].condition(p.RETRY) == "WORKER_STOPPING"
    assert len(hangs) == 1
    assert service.seen == [0]


def test_those_who_wait_behind_a_hang_are_told_before_the_worker_ends(
    serve: Serve, connect: Raw, service: ToyService
) -> None:
    ended = threading.Event()

    def end() -> None:
        ended.set()
        for session in server._open_sessions():  # as the end of the process does
            session.close()

    server = serve(timeout_s=1.0, on_hang=end)
    service.hold()
    clients = fill(server, connect, service, waiting=8)
    assert clients[0].condition(p.ERROR) == "PREDICT_TIMEOUT"
    assert {client.condition(p.RETRY) for client in clients[1:]} == {"WORKER_STOPPING"}
    wait_until(ended.is_set, "on_hang is called")


def test_a_slow_model_within_its_time_is_no_hang(
    serve: Serve, connect: Raw, service: ToyService, hangs: list[float]
) -> None:
    server = serve(timeout_s=60, on_hang=lambda: hangs.append(0))
    with service.held():
        (client,) = fill(server, connect, service)
        assert client.answer(alive=True).status == p.ALIVE
    assert client.values(1) == [0]
    assert hangs == []


def test_a_server_that_drains_finishes_what_runs_and_sends_away_what_waits(
    serve: Serve, connect: Raw, service: ToyService
) -> None:
    server = serve()
    service.hold()
    running, waiting = fill(server, connect, service, waiting=1)
    closer = threading.Thread(target=server.close, kwargs={"drain_s": 60})
    closer.start()
    assert waiting.condition(p.RETRY, seq=1) == "WORKER_STOPPING"
    service.release()
    assert running.values(1) == [0]
    closer.join(120)
    assert not closer.is_alive()
    for client in (running, waiting):
        assert client.condition(p.RETRY, seq=0) == "WORKER_STOPPING", "nothing that comes later is scored"
        assert client.is_closed()
    assert service.seen == [0]


def ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("sparkmodel-")}


def test_a_closed_server_leaves_no_thread_and_no_port(serve: Serve, connect: Raw, service: ToyService) -> None:
    before = ours()
    server = serve()
    clients = [connect(server) for _ in range(5)]
    silent = socket.create_connection(server.endpoint)  # a stranger that says nothing
    clients[0].batch(1, 4)
    assert clients[0].values(1) == [8]
    assert len(ours() - before) >= 7
    server.close()
    wait_until(lambda: not ours() - before, "all threads end")
    assert all(client.is_closed() for client in clients)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.endpoint, timeout=5)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(server.endpoint)
    silent.close()
    server.close()  # a second time is no error


def test_a_server_that_cannot_start_a_thread_refuses_one_connection_and_goes_on(
    serve: Serve, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == "sparkmodel-session":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises((EOFError, ConnectionError)):
        raw(server).hello()
    monkeypatch.setattr(threading.Thread, "start", start)
    assert raw(server).hello()["number"] == 1
    assert "1 connections" in repr(server)


def test_limits_are_changed_while_batches_wait_and_no_connection_is_lost(
    serve: Serve, connect: Raw, service: ToyService
) -> None:
    server = serve(max_queued=1)
    with service.held():
        clients = fill(server, connect, service, waiting=1)
        late = connect(server)
        late.batch(1, 7)
        assert late.condition(p.RETRY, seq=1) == "POOL_BUSY"
        server.configure(max_concurrency=2, max_queued=2, timeout_s=60.0)
        wait_until(lambda: len(service.seen) == 2, "the one that waited is in the model too")
        late.batch(2, 7)
        wait_until(lambda: server.gate.load == 3, "there is room for one more")
    assert [client.values(1) for client in clients] == [[0], [2]]
    assert late.values(2) == [14]


def test_a_shorter_time_in_the_model_holds_for_what_is_in_it(serve: Serve, connect: Raw, service: ToyService) -> None:
    ended = threading.Event()
    server = serve(timeout_s=3600.0, on_hang=ended.set)
    with service.held():
        (client,) = fill(server, connect, service)
        server.configure(max_concurrency=1, max_queued=10, timeout_s=0.1)
        assert client.condition(p.ERROR, seq=1) == "PREDICT_TIMEOUT"
        wait_until(ended.is_set, "the worker is told to end")


def test_a_server_takes_the_port_that_is_asked_for(serve: Serve, service: ToyService) -> None:
    first = serve()
    first.close()
    assert serve(port=first.endpoint[1]).endpoint == first.endpoint


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_server_serves_an_address_of_version_6(service: ToyService) -> None:
    try:
        server = Server(service, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6 address")
    with RawClient(server.endpoint, family=socket.AF_INET6) as client:
        assert client.hello()["number"] == 1
    server.close()


def test_a_drain_waits_for_an_answer_that_is_amid_its_way_and_cuts_it_at_its_end(
    serve: Serve, service: ToyService
) -> None:
    service.predict = lambda batch: pa.array([1.0] * 4_000_000)
    server = serve()
    with RawClient(server.endpoint, receive_bytes=4096) as slow:
        slow.hello()
        slow.open()
        slow.batch(1, 1.0)
        wait_until(lambda: bool(service.seen) and server.gate.load == 0, "it is scored, and nobody reads the answer")
        closer = threading.Thread(target=server.close, kwargs={"drain_s": 0.5})
        closer.start()
        closer.join(60)
        assert not closer.is_alive()
        with pytest.raises((EOFError, ConnectionError)):
            slow.answer()


def test_a_pin_that_takes_long_is_not_forgotten(serve: Serve, raw: Raw, service: ToyService) -> None:
    go = threading.Event()
    service.on_pin = lambda deadline: go.wait() and None  # type: ignore[func-returns-value]
    client = raw(serve())
    client.hello()
    client.request(p.PIN, 4, p.to_json({"query": "q", "digest": ""}))
    answer = client.answer(alive=True)
    assert (answer.status, answer.seq) == (p.ALIVE, 4)
    go.set()
    assert client.info()["pinned"] == 1


def test_a_master_is_told_until_when_it_may_take(serve: Serve, raw: Raw, service: ToyService) -> None:
    deadlines: list[float] = []
    service.on_pin = deadlines.append
    client = raw(serve())
    client.hello()
    started = time.monotonic()
    client.pin("q", budget_ms=90_000)
    client.pin("q")
    assert started + 90 <= deadlines[0] <= time.monotonic() + 90
    assert deadlines[1] == float("inf")
