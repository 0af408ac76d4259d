# SPDX-License-Identifier: Apache-2.0
"""Turns of callers, and calls that hang while others go on. Real sockets, a toy model."""

from __future__ import annotations

import contextlib
import operator
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pytest

from sparkmodel.wire import protocol as p
from sparkmodel.wire.server import Server
from tests.unit.wire.test_server import fill
from tests.unit.wire.toys import RawClient, ToyService, numbers, wait_until

Raw = Callable[[Server], RawClient]
Serve = Callable[..., Server]


@pytest.fixture
def hangs() -> list[float]:
    """Grows with each call of on_hang."""
    return []


def test_sixty_callers_get_the_same_share(serve: Serve, connect: Raw, service: ToyService) -> None:
    def slow(batch: pa.RecordBatch) -> pa.Array:
        time.sleep(0.005)
        return batch.column(0)

    service.predict = slow
    server = serve()
    clients = [connect(server) for _ in range(60)]
    counts, stop, begin = [0] * 60, threading.Event(), threading.Barrier(61)

    def call(number: int) -> None:
        begin.wait(60)
        while not stop.is_set():
            clients[number].batch(counts[number] + 1, 1.0)
            clients[number].values(counts[number] + 1)
            counts[number] += 1

    threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(60)]
    for thread in threads:
        thread.start()
    begin.wait(60)
    spreads = []
    for _ in range(20):  # who had no core for a while asks late, and has missed a turn
        before = list(counts)
        goal = [count + 4 for count in before]
        wait_until(lambda goal=goal: all(map(operator.ge, counts, goal)), "each has had some turns")
        served = [now - then for now, then in zip(list(counts), before, strict=True)]
        spreads.append(max(served) - min(served))
        if spreads[-1] <= 2:
            break
    stop.set()
    for thread in threads:
        thread.join(60)
    assert spreads[-1] <= 2, spreads


def test_one_row_has_its_turn_between_two_batches_of_a_scan(serve: Serve, raw: Raw, service: ToyService) -> None:
    """2,000 batches of one query over many connections are one caller."""

    def slow(batch: pa.RecordBatch) -> pa.Array:
        time.sleep(0.002)
        return batch.column(0)

    service.predict = slow
    server = serve()
    clients = [raw(server) for _ in range(17)]
    for client in clients:
        client.hello()
        client.open(**({} if client is clients[0] else {"query": "query:scan"}))
    stop = threading.Event()

    def scan(client: RawClient) -> None:
        for seq in range(1, 126):
            if not stop.is_set():
                client.batch(seq, 1.0)
                client.values(seq)

    threads = [threading.Thread(target=scan, args=(client,), daemon=True) for client in clients[1:]]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(service.seen) > 100, "the scan is under way")
    between = []
    for seq in range(1, 42):
        before = len(service.seen)
        clients[0].batch(seq, 2.0)
        clients[0].values(seq)
        between.append(len(service.seen) - before)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert sorted(between)[20] <= 5, "in one queue for all it would be 17"


def test_a_batch_that_is_to_be_alone_is_alone_in_the_model(serve: Serve, connect: Raw, service: ToyService) -> None:
    server = serve(max_concurrency=2)
    with service.held():
        (first,) = fill(server, connect, service)
        alone, last = connect(server), connect(server)
        alone.say(*(bytes(part) for part in p.pack_request(p.BATCH, 1, p.batch_to_buffer(numbers(7)), flags=p.ALONE)))
        wait_until(lambda: server.gate.load == 2, "it waits, though there would be a place")
        last.batch(1, 8)
        wait_until(lambda: server.gate.load == 3, "the next one waits behind it")
        assert service.seen == [0]
    assert (first.values(1), alone.values(1), last.values(1)) == ([0], [14], [16])
    assert service.seen == [0, 7, 8]


def test_a_call_that_hangs_in_python_ends_alone(
    serve: Serve, connect: Raw, service: ToyService, hangs: list[float]
) -> None:
    def predict(batch: pa.RecordBatch) -> pa.Array:
        while batch.column(0)[0].as_py() < 0:
            time.sleep(0.001)
        return batch.column(0)

    service.predict = predict
    server = serve(max_concurrency=2, timeout_s=1.0, on_hang=lambda: hangs.append(0))
    stuck, other = connect(server), connect(server)
    stuck.batch(1, -1.0)
    other.batch(1, 5.0)
    assert other.values(1) == [5.0]
    assert stuck.condition(p.ERROR, seq=1) == "PREDICT_TIMEOUT"
    stuck.batch(2, 6.0)
    assert stuck.values(2) == [6.0], "its connection is in order"
    wait_until(lambda: server.gate.load == 0, "nothing is left")
    assert hangs == []


def test_others_go_on_while_a_call_that_hangs_is_given_time_to_end(
    serve: Serve, connect: Raw, service: ToyService, hangs: list[float]
) -> None:
    go = threading.Event()
    service.predict = lambda batch: batch.column(0) if batch.column(0)[0].as_py() > 0 or go.wait() else None
    server = serve(max_concurrency=2, timeout_s=1.0, on_hang=lambda: hangs.append(0))
    stuck, other = connect(server), connect(server)
    stuck.batch(1, -1.0)
    assert stuck.condition(p.ERROR, seq=1) == "PREDICT_TIMEOUT"
    other.batch(1, 5.0)
    assert other.values(1) == [5.0]
    wait_until(lambda: bool(hangs), "it is stuck: the worker has to end")
    go.set()


def test_who_watches_is_told_which_batches_are_in_the_model(serve: Serve, raw: Raw, service: ToyService) -> None:
    seen: list[list[tuple[int, int]]] = []

    @contextlib.contextmanager
    def inside(batches: Sequence[tuple[int, int]]) -> Iterator[None]:
        seen.append(list(batches))
        yield

    client = raw(serve(inside=inside))
    session = client.hello()["session"]
    client.open()
    for seq in (7, 8):
        client.batch(seq, 1)
        client.values(seq)
    assert seen == [[(session, 7)], [(session, 8)]]
