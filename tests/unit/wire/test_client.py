# SPDX-License-Identifier: Apache-2.0
"""The client of a pool against real servers that all do well."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import BatchTooLargeError, PredictError, SparkModelError
from sparkmodel.wire import client as client_module
from sparkmodel.wire import payloads as payloads_module
from sparkmodel.wire.client import PoolClient, client_of, forget
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import HandleClient, ToyService, double, handle_of, numbers, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]


def score(client: HandleClient, *values: float, timeout_s: float | None = None) -> list[Any]:
    """The predictions of one batch."""
    (array,) = client.predict([numbers(*values)], False, timeout_s)
    return list(array.to_pylist())


def ask(handle: Handle, *values: float) -> list[Any]:
    """The predictions of one batch, by the client that this process has of the handle's pool."""
    (array,) = client_of(handle).predict([numbers(*values)], False, caller=handle)
    return list(array.to_pylist())


def in_flight(client: PoolClient) -> int:
    return sum(route.in_flight for route in client._router.routes.values())


def idle(client: PoolClient) -> int:
    return sum(len(route.idle) for route in client._router.routes.values())


def test_many_batches_over_two_workers_come_back_in_order(serve: Serve, pool: Pool) -> None:
    services = [ToyService(), ToyService()]
    client = pool(*(serve(toy) for toy in services), max_in_flight=4)
    sizes = [1, 7, 1000, 3] * 75
    batches = [numbers(*range(i, i + size)) for i, size in enumerate(sizes)]
    for rounds in range(1, 51):  # one that a busy machine stops for a moment gets nothing for a while
        arrays = list(client.predict(iter(batches), False))
        assert arrays == [double(batch) for batch in batches]
        assert sum(len(toy.seen) for toy in services) == rounds * len(batches)
        if min(len(toy.seen) for toy in services) > 30 * rounds:
            break
    else:
        pytest.fail("both workers share the work")
    assert (client.retries, in_flight(client)) == (0, 0)


def test_each_of_many_threads_gets_its_own_answers(serve: Serve, pool: Pool) -> None:
    client = pool(serve(ToyService()), serve(ToyService()))
    start = threading.Barrier(64)

    def call(caller: int) -> int:
        start.wait(120)
        for i in range(20):
            value = caller * 1000 + i
            assert score(client, value, -value) == [2 * value, -2 * value]
        return 20

    with ThreadPoolExecutor(64) as threads:
        assert sum(threads.map(call, range(64))) == 64 * 20
    assert (client.retries, in_flight(client)) == (0, 0)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_caller_has_so_many_batches_under_way_and_no_more(limit: int, serve: Serve, pool: Pool) -> None:
    services = [ToyService(), ToyService()]
    servers = [serve(toy, max_concurrency=8) for toy in services]
    client = pool(*servers, max_in_flight=limit)
    asked = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal asked
        for i in range(20):
            asked += 1
            yield numbers(i)

    for toy in services:
        toy.hold()
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(lambda: [a.to_pylist() for a in client.predict(batches(), False)])
        wait_until(lambda: sum(server.gate.load for server in servers) == limit, "the window is full")
        assert asked == limit
        for toy in services:
            toy.release()
        assert result.result(120) == [[2 * i] for i in range(20)]


def test_nothing_is_sent_for_an_empty_batch(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    batches = [numbers(), numbers(1), numbers(), numbers(), numbers(2), numbers()]
    arrays = list(client.predict(batches, False))
    assert [array.to_pylist() for array in arrays] == [[], [2], [], [], [4], []]
    assert {array.type for array in arrays} == {pa.float64()}
    assert service.seen == [1, 2]


@pytest.mark.fault("F19")
def test_a_large_batch_goes_in_pieces_and_the_results_line_up(
    serve: Serve, pool: Pool, service: ToyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads_module, "PIECE_BYTES", 1000)
    client = pool(serve(), max_in_flight=3)
    batches = [numbers(*range(n)) for n in (1000, 3, 1, 125, 126)]
    arrays = list(client.predict(batches, False))
    assert pa.concat_arrays(arrays) == pa.concat_arrays([double(batch) for batch in batches])
    assert [len(array) for array in arrays] == [112] * 8 + [104, 3, 1, 63, 62, 63, 63]
    assert len(service.seen) == len(arrays)


@pytest.mark.fault("F19")
def test_a_row_that_is_too_large_is_refused_here_and_costs_nobody_else(
    serve: Serve, pool: Pool, service: ToyService
) -> None:
    client = pool(serve(max_batch_bytes=1000))
    with pytest.raises(BatchTooLargeError, match="1000"):
        score(client, *range(1000))
    assert score(client, 4) == [8]
    assert (service.seen, in_flight(client)) == ([4], 0)


def test_connections_and_streams_are_kept_across_calls(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve()
    client = pool(server)
    for i in range(30):
        assert score(client, i) == [2 * i]
    assert len(service.opened) == 1
    assert idle(client) == 1
    assert "1 connections" in repr(server)
    client.close()
    wait_until(lambda: "0 connections" in repr(server), "the connection is closed")
    assert score(client, 5) == [10], "a closed client connects anew"


def test_another_schema_or_binding_opens_another_stream(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    ints = pa.record_batch({"0": pa.array([1 << 60, None], pa.int64())})
    service.predict = lambda batch: pa.array([float(batch.column(0).type == pa.int64())] * len(batch))
    arrays = list(client.predict([numbers(1), ints, ints, numbers(2)], False))
    assert [array.to_pylist() for array in arrays] == [[0], [1, 1], [1, 1], [0]]
    list(client.predict([numbers(1)], True))
    assert service.opened[-1]["binding"] == "name"


def test_stopping_early_leaves_nothing_under_way(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve(max_concurrency=8)
    client = pool(server, max_in_flight=4)
    results = client.predict((numbers(i) for i in range(100)), False)
    assert next(results).to_pylist() == [0]
    service.hold()
    assert next(results).to_pylist() == [2]
    assert in_flight(client) > 0
    results.close()  # type: ignore[attr-defined]
    assert in_flight(client) == 0
    service.release()
    wait_until(lambda: server.gate.load == 0, "the worker is done with what nobody waits for")
    wait_until(lambda: f"{idle(client)} connections" in repr(server), "only kept connections stay open")
    assert score(client, 50) == [100]


def test_an_error_in_the_input_leaves_nothing_under_way(serve: Serve, pool: Pool) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield numbers(1)
        raise RuntimeError("the input broke")

    client = pool(serve(), max_in_flight=3)
    with pytest.raises(RuntimeError, match="the input broke"):
        list(client.predict(batches(), False))
    assert in_flight(client) == 0


def test_an_error_arrives_as_the_class_it_left_as_with_all_its_parts(
    serve: Serve, pool: Pool, service: ToyService
) -> None:
    def fail(batch: pa.RecordBatch) -> pa.Array:
        if batch.column(0)[0].as_py() < 0:
            raise PredictError("Cannot score with 'toy'", "negative", "pass positive values", "Traceback:\n  ünïcode")
        return double(batch)

    service.predict = fail
    server = serve()
    client = pool(server, max_in_flight=3)
    with pytest.raises(PredictError) as caught:
        list(client.predict([numbers(1), numbers(-1), numbers(2), numbers(3)], False))
    assert (caught.value.fact, caught.value.hint) == ("negative", "pass positive values")
    assert caught.value.details == "Traceback:\n  ünïcode"
    assert str(caught.value).startswith("[PREDICT_FAILED] Cannot score with 'toy': negative. Hint: pass positive")
    assert (in_flight(client), client.retries) == (0, 0)
    assert score(client, 3) == [6]


def test_a_condition_that_this_version_does_not_know_stays_readable(
    serve: Serve, pool: Pool, service: ToyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NewerError(PredictError):
        condition = "FROM_THE_FUTURE"

    def fail(batch: pa.RecordBatch) -> pa.Array:
        raise NewerError("Cannot score with 'toy'", "something new happened")

    monkeypatch.delitem(SparkModelError._by_condition, "FROM_THE_FUTURE")
    service.predict = fail
    with pytest.raises(SparkModelError, match="FROM_THE_FUTURE: something new happened"):
        score(pool(serve()), 1)


@pytest.fixture
def shared(serve: Serve) -> Iterator[Handle]:
    """The handle of a pool whose client this process shares."""
    yield handle_of(serve(), serve(ToyService()), pool_id="shared")
    forget("shared")


def test_all_callers_in_a_process_share_one_client(shared: Handle) -> None:
    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(lambda _: client_of(shared), range(64)))) == 1
    first = client_of(shared)
    assert ask(shared, 1) == [2]
    forget("shared")
    assert idle(first) == 0
    assert client_of(shared) is not first
    forget("never heard of")


def _in_child(handle: Handle, parents: PoolClient, results: Any) -> None:
    client = client_of(handle)
    results.put((client is parents, [ask(handle, -i) for i in range(20)]))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork among threads is what is tested
def test_a_forked_process_takes_connections_of_its_own(shared: Handle) -> None:
    client = client_of(shared)
    assert ask(shared, 1) == [2]
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    children = [fork.Process(target=_in_child, args=(shared, client, results)) for _ in range(2)]
    for child in children:
        child.start()
    for i in range(20):
        assert ask(shared, i) == [2 * i]
    for _ in children:
        assert results.get(timeout=120) == (False, [[-2 * i] for i in range(20)])
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    assert client_of(shared) is client
    assert (ask(shared, 9), client.retries) == ([18], 0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_another_thread_makes_a_client_does_not_lock_the_child(shared: Handle) -> None:
    client = client_of(shared)
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    child = fork.Process(target=_in_child, args=(shared, client, results))
    forked, done = threading.Event(), threading.Event()

    def hold_the_lock() -> None:
        with client_module._clients.lock:
            forked.set()
            done.wait(0.5)  # longer than a fork takes

    thread = threading.Thread(target=hold_the_lock)
    thread.start()
    forked.wait()
    child.start()
    done.set()
    thread.join()
    try:
        assert results.get(timeout=120)[0] is False
    finally:
        child.kill()
        child.join()
