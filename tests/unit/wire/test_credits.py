# SPDX-License-Identifier: Apache-2.0
"""Leave to send: a worker holds no more bytes than it may, and whoever waits is not starved. Real sockets."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from sparkmodel.errors import DeadlineExceededError
from sparkmodel.wire import protocol as p
from sparkmodel.wire import session as session_module
from sparkmodel.wire.credits import FREE_BYTES
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import HandleClient, RawClient, ToyService, handle_of, numbers, wait_until

Raw = Callable[[Server], RawClient]
Serve = Callable[..., Server]
LONG = [1.0] * 10_000  # 80 KB
BYTES = len(p.batch_to_buffer(numbers(*LONG)))


@pytest.fixture
def connect(raw: Raw) -> Callable[..., RawClient]:
    """A greeted connection with a stream open."""

    def connect_(server: Server, query: str = "") -> RawClient:
        client = raw(server)
        assert client.hello()["free_bytes"] == FREE_BYTES
        client.open(**({"query": query} if query else {}))
        return client

    return connect_


Connect = Callable[..., RawClient]


def ask(client: RawClient, size: int = BYTES, seq: int = 1, budget_ms: int = 0, **more: bool) -> None:
    client.request(p.CREDIT, seq, p.to_json({"bytes": size, **more}), budget_ms)


def is_answered(client: RawClient) -> bool:
    client.sock.setblocking(False)
    try:
        client.sock.recv(1, 2)  # MSG_PEEK
        return True
    except BlockingIOError:
        return False
    finally:
        client.sock.settimeout(120)


def test_a_long_batch_without_leave_breaks_the_protocol(serve: Serve, connect: Connect, service: ToyService) -> None:
    client = connect(serve())
    client.batch(1, *LONG)
    assert client.condition(p.ERROR) == "PROTOCOL_ERROR"
    assert client.is_closed()
    assert service.seen == []


def test_one_that_is_longer_than_its_leave_does_too(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server)
    ask(client, BYTES - 1)
    assert client.info() == {"granted": BYTES - 1}
    client.batch(1, *LONG)
    assert client.condition(p.ERROR) == "PROTOCOL_ERROR"
    wait_until(lambda: server.gate.credits.used == 0, "what it had leave for is free")


@pytest.mark.parametrize("asked", [{}, {"bytes": 0}, {"bytes": 1 << 40}, {"bytes": "1"}, {"bytes": 1, "wait": 1}])
def test_what_cannot_be_granted_is_refused(serve: Serve, connect: Connect, asked: dict[str, object]) -> None:
    client = connect(serve())
    client.request(p.CREDIT, 1, p.to_json(asked))
    assert client.condition(p.ERROR) == "PROTOCOL_ERROR"


def test_leave_lasts_until_the_answer_is_sent(serve: Serve, connect: Connect, service: ToyService) -> None:
    server = serve(max_queued_bytes=BYTES)
    first, second = connect(server), connect(server)
    with service.held():
        ask(first)
        assert first.info() == {"granted": BYTES}
        assert (server.gate.credits.used, server.gate.load) == (BYTES, 1)
        ask(second)
        first.batch(1, *LONG)
        answer = second.answer(alive=True)
        assert (answer.status, answer.seq, answer.load) == (p.ALIVE, 1, 2), "it is not forgotten while it waits"
        assert first.answer(alive=True).status == p.ALIVE
    assert first.values(1) == [2.0] * len(LONG)
    assert second.info() == {"granted": BYTES}
    second.batch(1, *LONG)
    assert second.values(1) == [2.0] * len(LONG)
    wait_until(lambda: (server.gate.credits.used, server.gate.load) == (0, 0), "nothing is left")


def test_a_message_longer_than_all_is_granted_alone(serve: Serve, connect: Connect) -> None:
    server = serve(max_queued_bytes=1000)
    first, second = connect(server), connect(server)
    ask(first)
    assert first.info() == {"granted": BYTES}
    ask(second, 10)
    assert not is_answered(second)
    first.batch(1, *LONG)
    first.values(1)
    assert second.info() == {"granted": 10}


def test_who_does_not_want_to_wait_is_told_at_once(serve: Serve, connect: Connect) -> None:
    server = serve(max_queued_bytes=BYTES)
    first, second = connect(server), connect(server)
    ask(first, wait=False)
    assert first.info() == {"granted": BYTES}
    ask(second, wait=False)
    assert second.condition(p.RETRY, seq=1) == "POOL_BUSY"
    first.batch(1, *LONG)
    first.values(1)
    wait_until(lambda: server.gate.credits.used == 0, "its answer is away")
    ask(second, wait=False, seq=2)
    assert second.info() == {"granted": BYTES}


def test_leave_is_given_to_callers_in_turn(serve: Serve, connect: Connect) -> None:
    server = serve(max_queued_bytes=BYTES)
    holder = connect(server)
    ask(holder)
    assert holder.info() == {"granted": BYTES}
    clients = [connect(server, query) for query in ("scan", "scan", "scan", "other")]
    for count, client in enumerate(clients, 2):
        ask(client)
        wait_until(lambda count=count: server.gate.load == count, "it waits")  # type: ignore[misc]
    scans, other = clients[:3], clients[3]
    for client, last in zip([scans[0], other, scans[1], scans[2]], [holder, scans[0], other, scans[1]], strict=True):
        last.sock.close()
        assert client.info() == {"granted": BYTES}
        assert [one for one in clients if one not in (client, last) and is_open(one) and is_answered(one)] == []


def is_open(client: RawClient) -> bool:
    return client.sock.fileno() >= 0


def test_the_deadline_and_the_end_of_a_worker_end_the_wait(serve: Serve, connect: Connect) -> None:
    server = serve(max_queued_bytes=BYTES)
    first, second, third = (connect(server) for _ in range(3))
    ask(first)
    first.info()
    ask(second, budget_ms=50)
    assert second.condition(p.ERROR, seq=1) == "DEADLINE_EXCEEDED"
    ask(third)
    wait_until(lambda: server.gate.load == 2, "the last one waits")
    closer = threading.Thread(target=server.close, kwargs={"drain_s": 5})
    closer.start()
    assert third.condition(p.RETRY) == "WORKER_STOPPING"
    closer.join(60)


def test_a_full_queue_gives_no_leave(serve: Serve, connect: Connect, service: ToyService) -> None:
    server = serve(max_queued=0)
    first, second = connect(server), connect(server)
    ask(first)
    first.info()
    ask(second)
    assert second.condition(p.RETRY, seq=1) == "POOL_BUSY"


def test_one_that_has_leave_and_sends_nothing_is_cut_off(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_GRANTED_S", 0.2)
    server = serve(max_queued_bytes=BYTES)
    silent, amid, other = (connect(server) for _ in range(3))
    ask(silent)
    silent.info()
    assert silent.is_closed()
    ask(amid)
    amid.info()
    amid.say(bytes(p.pack_request(p.BATCH, 1, b"x" * BYTES)[0]), b"x" * 1000)
    assert amid.is_closed()
    ask(other)
    assert other.info() == {"granted": BYTES}
    wait_until(lambda: server.gate.load == 1, "only its place is taken")


def test_a_connection_that_had_leave_may_lie_idle_after_its_answer(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_GRANTED_S", 0.2)
    client = connect(serve())
    ask(client)
    client.info()
    client.batch(1, *LONG)
    client.values(1)
    time.sleep(0.5)
    client.batch(2, 1.0)
    assert client.values(2) == [2.0]


@contextlib.contextmanager
def client_of(server: Server) -> Iterator[HandleClient]:
    client = HandleClient(handle_of(server, max_in_flight=2))
    yield client
    client.close()


@pytest.mark.fault("F19", "F25")
def test_twelve_callers_with_much_to_send_are_bounded_and_none_starves(serve: Serve, service: ToyService) -> None:
    """While the model blocks, what was received is what there was leave for; then all of them are answered."""
    batch = pa.record_batch({"0": pa.array([1.0] * (1 << 20), pa.float64())})  # 8 MiB
    budget = 3 * batch.nbytes
    service.predict = lambda batch: batch.column(0)
    server = serve(max_queued_bytes=budget)
    before = pa.total_allocated_bytes()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(12)]
        threads = stack.enter_context(ThreadPoolExecutor(12))
        with service.held():
            calls = [
                threads.submit(lambda client=client: [len(a) for a in client.predict([batch] * 2, False)])  # type: ignore[misc]
                for client in clients
            ]
            wait_until(lambda: server.gate.load >= 12, "all have asked")
            wait_until(lambda: pa.total_allocated_bytes() - before >= 2 * batch.nbytes, "some have sent")
            time.sleep(0.3)  # for more to come, if it could
            # serialized once by each caller, received up to the budget
            sent = 12 * 2 * (batch.nbytes + 4096)
            assert pa.total_allocated_bytes() - before <= sent + budget
            assert server.gate.credits.used <= budget
        assert [call.result(120) for call in calls] == [[batch.num_rows] * 2] * 12
    wait_until(lambda: (server.gate.credits.used, server.gate.load) == (0, 0), "nothing is left")


def test_a_caller_never_waits_for_leave_that_its_own_unread_answer_takes(serve: Serve, service: ToyService) -> None:
    """Answers too large for the sockets' buffers, and room for one of them."""
    batch = pa.record_batch({"0": pa.array([1.0] * (1 << 20), pa.float64())})
    service.predict = lambda batch: batch.column(0)
    server = serve(max_queued_bytes=batch.nbytes)
    with client_of(server) as client:
        assert [len(array) for array in client.predict([batch] * 5, False, 60)] == [batch.num_rows] * 5


def test_the_wait_for_leave_counts_against_the_deadline(serve: Serve, connect: Connect) -> None:
    server = serve(max_queued_bytes=BYTES)
    holder = connect(server)
    ask(holder)
    holder.info()
    with client_of(server) as client, pytest.raises(DeadlineExceededError):
        list(client.predict([numbers(*LONG)], False, 0.3))
