# SPDX-License-Identifier: Apache-2.0
"""A pool as an event loop calls it, when workers are lost, full, silent, or not what they claim to be."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import (
    AuthenticationError,
    DeadlineExceededError,
    PoolBusyError,
    ProtocolError,
    SparkModelError,
    WorkerLostError,
    WrongVersionError,
)
from sparkmodel.wire import aio_exchange
from sparkmodel.wire import protocol as p
from sparkmodel.wire.server import Server
from sparkmodel.wire.tickets import Call
from tests.unit.wire.liar import Liar, hang_up, say_nothing
from tests.unit.wire.loops import becomes, score, wire
from tests.unit.wire.test_client import idle, in_flight
from tests.unit.wire.toys import RESULT, HandleClient, ToyService, double, numbers

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]
Lie = Callable[..., Liar]
OnBatch = Callable[[socket.socket, int], None]


def answered(seq: int, *values: float, status: int = p.OK) -> bytes:
    """A right answer, as bytes."""
    payload = bytes(p.batch_to_buffer(pa.record_batch([double(numbers(*values))], schema=RESULT)))
    return b"".join(map(bytes, p.pack_answer(p.Answer(status, seq, payload=payload))))


def refused(status: int, seq: int, error: SparkModelError) -> bytes:
    return b"".join(map(bytes, p.pack_answer(p.Answer(status, seq, payload=p.to_json(error.to_dict())))))


def well_once(then: OnBatch) -> OnBatch:
    """Answers the first batch, of a 1, so that a connection is kept; what follows is another matter."""
    seen: list[int] = []

    def on_batch(sock: socket.socket, seq: int) -> None:
        seen.append(seq)
        if len(seen) == 1:
            sock.sendall(answered(seq, 1))
        else:
            then(sock, seq)

    return on_batch


def call_twice(client: HandleClient, *values: float, timeout_s: float | None = 60.0) -> list[Any]:
    """What the second call comes to, which the loop makes on a kept connection."""

    async def main() -> list[Any]:
        async with wire() as aio:
            assert await score(aio, client, 1) == [2]
            assert idle(client) == 1
            return await score(aio, client, *(values or (3,)), timeout_s=timeout_s)

    try:
        return asyncio.run(main())
    finally:
        assert in_flight(client) == 0


@pytest.mark.fault("F1")
def test_a_batch_whose_worker_dies_is_answered_by_another(serve: Serve, pool: Pool) -> None:
    services = [ToyService(), ToyService()]
    servers = [serve(toy) for toy in services]
    client = pool(*servers)

    async def main() -> None:
        async with wire() as aio:
            await asyncio.gather(*(score(aio, client, i) for i in range(16)))
            for toy in services:
                toy.seen.clear()
                toy.hold()
            task = asyncio.ensure_future(score(aio, client, 21))
            await becomes(lambda: any(toy.seen for toy in services), "the batch is in a model")
            dying = services.index(next(toy for toy in services if toy.seen))
            await asyncio.to_thread(servers[dying].close)
            services[1 - dying].release()
            assert await task == [42]

    asyncio.run(main())
    assert (client.retries, in_flight(client)) == (1, 0)


def test_a_kept_connection_that_was_closed_meanwhile_counts_as_no_loss(serve: Serve, pool: Pool) -> None:
    server = serve()
    client = pool(server, max_retries=0)

    async def main() -> None:
        async with wire() as aio:
            for i in range(3):
                assert await score(aio, client, i) == [2 * i]
                for session in server._open_sessions():
                    session.close()
                await becomes(lambda: "0 connections" in repr(server), "the connection has gone")

    asyncio.run(main())
    assert client.retries == 0


def test_a_batch_is_never_sent_twice_without_retries(pool: Pool, lie: Lie) -> None:
    liar = lie(well_once(hang_up))
    with pytest.raises(WorkerLostError, match="lost 1 worker "):
        call_twice(pool(liar, max_retries=0))
    assert liar.batches == 2


@pytest.mark.parametrize(
    ("on_batch", "fact"),
    [
        (lambda sock, seq: sock.sendall(answered(seq + 1, 3)), "was answered"),
        (lambda sock, seq: sock.sendall(answered(seq - 1, 3)), "was answered"),
        (lambda sock, seq: sock.sendall(answered(0, 3)), "was answered"),
        (lambda sock, seq: sock.sendall(answered(seq, 3, 4)), "2 were answered"),
        (lambda sock, seq: sock.sendall(b"\xff" * p.ANSWER.size), "unknown answer status 255"),
    ],
    ids=["next number", "number of before", "no number", "more rows", "bad status"],
)
@pytest.mark.fault("F27")
def test_an_answer_that_cannot_be_trusted_is_an_error_and_leaves_nothing_behind(
    on_batch: OnBatch, fact: str, pool: Pool, lie: Lie
) -> None:
    client = pool(lie(well_once(on_batch)))
    with pytest.raises(ProtocolError, match=fact):
        call_twice(client)
    assert idle(client) == 0


def test_a_connection_with_more_than_an_answer_is_not_used_again(pool: Pool, lie: Lie) -> None:
    def too_much(sock: socket.socket, seq: int) -> None:
        sock.sendall(answered(seq, 3) + answered(seq + 1, 666))

    client = pool(lie(well_once(too_much)))
    assert call_twice(client) == [6]
    (route,) = client._router.routes.values()
    assert client.sender.idle(route) is None


def test_bytes_behind_a_refusal_are_not_taken_for_an_answer(serve: Serve, pool: Pool, lie: Lie) -> None:
    busy = PoolBusyError("Cannot score with 'toy'", "it is full")
    sent: list[int] = []

    def refuse(sock: socket.socket, seq: int) -> None:
        sent.append(seq)
        sock.sendall(refused(p.RETRY, seq, busy) + answered(seq + 1, 666) if len(sent) == 1 else answered(seq, 3))

    assert call_twice(pool(lie(well_once(refuse)))) == [6]


def test_an_error_about_the_connection_reaches_the_caller(pool: Pool, lie: Lie) -> None:
    error = AuthenticationError("Cannot score with 'toy'", "no longer welcome")
    client = pool(lie(well_once(lambda sock, _: sock.sendall(refused(p.ERROR, 0, error)))))
    with pytest.raises(AuthenticationError, match="no longer welcome"):
        call_twice(client)


def test_a_late_answer_of_a_silent_worker_is_waited_for(pool: Pool, lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio_exchange, "_QUIET_S", 0.05)

    def late(sock: socket.socket, seq: int) -> None:
        time.sleep(0.4)
        sock.sendall(answered(seq, 3))

    liar = lie(well_once(late))
    assert call_twice(pool(liar, max_retries=0)) == [6]
    assert liar.batches == 2


def test_an_answer_that_comes_in_pieces_is_put_together(pool: Pool, lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio_exchange, "_QUIET_S", 0.05)

    def slowly(sock: socket.socket, seq: int) -> None:
        whole = answered(seq, 3)
        for part in (whole[:5], whole[5 : p.ANSWER.size + 3], whole[p.ANSWER.size + 3 :]):
            sock.sendall(part)
            time.sleep(0.2)

    liar = lie(well_once(slowly))
    assert call_twice(pool(liar, max_retries=0)) == [6]
    assert liar.batches == 2


def test_an_answer_that_stops_in_its_midst_ends_with_the_deadline(pool: Pool, lie: Lie) -> None:
    client = pool(lie(well_once(lambda sock, seq: sock.sendall(answered(seq, 3)[:-5]))))
    with pytest.raises(DeadlineExceededError):
        call_twice(client, timeout_s=0.5)
    assert idle(client) == 0


def test_an_answer_is_not_lost_that_comes_as_the_wait_ends(
    pool: Pool, lie: Lie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio_exchange, "_QUIET_S", 0.05)
    has_answered = threading.Event()

    def answer(sock: socket.socket, seq: int) -> None:
        sock.sendall(answered(seq, 3))
        has_answered.set()

    liar = lie(well_once(answer))
    client = pool(liar, max_retries=0)

    async def main() -> None:
        async with wire() as aio:
            assert await score(aio, client, 1) == [2]
            task = asyncio.ensure_future(score(aio, client, 3, timeout_s=20))
            await asyncio.sleep(0)  # it sends
            await asyncio.sleep(0)
            has_answered.wait(20)
            time.sleep(0.2)  # the loop is held up: the answer and the end of the wait are seen at once
            assert await task == [6]

    asyncio.run(main())
    assert liar.batches == 2


def test_a_worker_that_only_lives_does_not_hold_a_caller_beyond_the_deadline(pool: Pool, lie: Lie) -> None:
    def live(sock: socket.socket, seq: int) -> None:
        for _ in range(100):
            sock.sendall(b"".join(map(bytes, p.pack_answer(p.Answer(p.ALIVE, seq)))))
            time.sleep(0.05)

    with pytest.raises(DeadlineExceededError):
        call_twice(pool(lie(well_once(live))), timeout_s=0.3)


def test_a_worker_that_says_nothing_does_not_hold_a_caller_beyond_the_deadline(pool: Pool, lie: Lie) -> None:
    with pytest.raises(DeadlineExceededError):
        call_twice(pool(lie(well_once(say_nothing))), timeout_s=0.3)


def test_a_worker_that_reads_nothing_does_not_hold_a_caller_beyond_the_deadline(pool: Pool, lie: Lie) -> None:
    has_ended = threading.Event()

    def stop_reading(sock: socket.socket, seq: int) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.sendall(answered(seq, 1))
        has_ended.wait(60)

    client = pool(lie(stop_reading))

    async def main() -> None:
        async with wire() as aio:
            assert await score(aio, client, 1) == [2]
            (route,) = client._router.routes.values()
            (kept,) = route.idle
            kept._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
            monkeyed = numbers(*map(float, range(100_000)))
            with pytest.raises((DeadlineExceededError, PoolBusyError)):
                await asyncio.wait_for(score(aio, client, batch=monkeyed, timeout_s=0.3), 30)

    try:
        asyncio.run(main())
    finally:
        has_ended.set()
    assert in_flight(client) == 0


def test_a_loop_that_cannot_send_ends_with_the_deadline(serve: Serve, pool: Pool) -> None:
    client = pool(serve())
    ticket = client.ticket(Call(client.handle, False, 0.1), numbers(1).schema, b"", 1)
    ours, theirs = socket.socketpair()

    async def main() -> None:
        sending = asyncio.ensure_future(aio_exchange._Line(ours, ticket, "toy", 60.0).send([b"x" * (1 << 24)]))
        done, _ = await asyncio.wait({sending}, timeout=30)
        sending.cancel()
        assert done, "it waits for a worker that reads nothing"
        assert isinstance(sending.exception(), TimeoutError)

    with ours, theirs:
        ours.setblocking(False)
        asyncio.run(main())


@pytest.mark.fault("F25")
def test_full_queues_hold_callers_back_and_do_not_fail_them(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve(max_queued=0)
    client = pool(server)

    async def main() -> None:
        async with wire() as aio:
            assert await score(aio, client, 100) == [200]
            with service.held():
                tasks = [asyncio.ensure_future(score(aio, client, i)) for i in range(8)]
                await becomes(lambda: len(service.seen) == 2, "one is in the model")
                with pytest.raises(PoolBusyError, match="until the deadline"):
                    await score(aio, client, 50, timeout_s=0.3)
                service.release()
            assert await asyncio.gather(*tasks) == [[2 * i] for i in range(8)]

    asyncio.run(main())
    assert (client.retries, in_flight(client)) == (0, 0)
    assert 50 not in service.seen


@pytest.mark.parametrize("error", [PoolBusyError, WrongVersionError])
def test_a_worker_that_opens_no_stream_now_is_asked_again_or_left(
    serve: Serve, pool: Pool, error: type[SparkModelError]
) -> None:
    toys = [ToyService(), ToyService()]
    client = pool(*(serve(toy) for toy in toys))
    other = client.handle.calling(params='{"a": 1}')
    refusals: list[int] = []

    def refuse() -> None:
        if len(refusals) < 3:
            refusals.append(1)
            raise error("Cannot score with 'toy'", "not now")

    async def main() -> None:
        async with wire() as aio:
            await asyncio.gather(*(score(aio, client, i) for i in range(8)))
            toys[0].on_open = refuse
            if error is PoolBusyError:
                toys[1].on_open = refuse
            for _ in range(200):  # until the first worker has got one: which is quicker is by chance
                at_once = (score(aio, client, i, handle=other) for i in range(10))
                assert await asyncio.gather(*at_once) == [[2 * i] for i in range(10)]
                if refusals:
                    break

    asyncio.run(main())
    assert refusals
    assert in_flight(client) == 0


def test_a_deadline_passes_in_the_queue_and_the_batch_is_never_scored(
    serve: Serve, pool: Pool, service: ToyService
) -> None:
    server = serve()
    client = pool(server)

    async def main() -> None:
        async with wire() as aio:
            await asyncio.gather(*(score(aio, client, -1) for _ in range(4)))
            service.seen.clear()
            with service.held():
                first = asyncio.ensure_future(score(aio, client, 1))
                await becomes(lambda: service.seen == [1], "one is in the model")
                with pytest.raises(DeadlineExceededError):
                    await score(aio, client, 2, timeout_s=0.3)
                await becomes(lambda: server.gate.load == 1, "the worker drops it")
                service.release()
            assert await first == [2]
            assert await score(aio, client, 3) == [6]

    asyncio.run(main())
    assert service.seen == [1, 3]
