# SPDX-License-Identifier: Apache-2.0
"""The bridge's client of a pool against real servers that all do well."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError  # the builtin one since Python 3.11

import pyarrow as pa
import pytest

from sparkmodel.errors import PredictError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.server import Server
from tests.bridge import Jvm, JvmError
from tests.unit.bridge.conftest import Client, text_of
from tests.unit.wire.toys import ToyService, double, handle_of, numbers, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., Client]


def test_batches_of_any_size_are_scored(serve: Serve, pool: Pool) -> None:
    client = pool(serve())
    for size in (1, 2, 3000, 300_000, 4):
        values = [i / 2 for i in range(size)]
        assert client.score(*values) == [2 * value for value in values], size
    assert client.open_connections == 1


def test_several_batches_are_under_way_at_once_over_all_workers(serve: Serve, pool: Pool) -> None:
    services = [ToyService(), ToyService()]
    servers = [serve(toy) for toy in services]
    client = pool(*servers)
    for toy in services:
        toy.hold()
    tickets = [client.submit(i) for i in range(6)]
    wait_until(lambda: [server.gate.load for server in servers] == [3, 3], "each worker has half of them")
    assert client.open_connections == 6
    for toy in services:
        toy.release()
    for i in reversed(range(6)):
        assert client.collect(tickets[i]).values == [2 * i], "in any order"
    assert client.open_connections == 6


def test_a_ticket_counts_what_it_cost(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    with service.held():
        ticket = client.submit(1, 2, 3)
        wait_until(lambda: service.seen == [1], "the batch is in the model")
        collected = client.jvm.start("collect", ticket=ticket)
        with pytest.raises(FutureTimeoutError):
            collected.result(0.3)
    parts = collected.result(60)
    assert parts["rows"] == 3
    assert parts["retries"] == 0
    assert parts["sent_bytes"] == p.REQUEST.size + len(p.batch_to_buffer(numbers(1, 2, 3)))
    assert parts["wait_ns"] >= 0.25e9
    assert parts["predict_us"] >= 0.25e6
    assert parts["version"] == 1


def test_whether_an_answer_has_come_is_known_without_waiting(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    with service.held():
        ticket = client.submit(1)
        wait_until(lambda: service.seen == [1], "it is in the model")
        assert not client.is_ready(ticket)
    wait_until(lambda: client.is_ready(ticket), "it is answered")
    assert client.collect(ticket).values == [2]
    assert not client.is_ready(ticket)


def test_signs_of_life_are_no_answers(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve(), timeout_s=0.5, silence_s=1.0)  # in all less than this batch takes
    with service.held():
        ticket = client.submit(1)
        collected = client.jvm.start("collect", ticket=ticket)
        with pytest.raises(FutureTimeoutError):
            collected.result(2.5)
        assert not client.is_ready(client.submit(2))
    assert collected.result(60)["retries"] == 0


def test_connections_and_streams_are_kept_across_calls(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve()
    client = pool(server)
    for i in range(30):
        assert client.score(i) == [2 * i]
    assert len(service.opened) == 1
    assert client.open_connections == 1
    client.close()
    wait_until(lambda: "0 connections" in repr(server), "the connection is closed")
    assert client.open_connections == 0
    assert client.score(5) == [10], "a closed client connects anew"


def test_a_closed_connection_holds_no_file_descriptor(serve: Serve, pool: Pool) -> None:
    client = pool(serve())
    before = client.jvm.call("descriptors")
    for i in range(30):
        assert client.score(i) == [2 * i]
        client.close()
    assert client.jvm.call("descriptors") < before + 30


def test_a_stream_asks_for_what_its_call_asks_for(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    options = {"params": '{"k": 1.50, "n": 12345678901234567890}', "on_error": "null", "time_zone": "Europe/Rome"}
    assert client.score(1, by_name=True, **options) == [2]
    opened = {"binding": "name", "pin": None, **options, "params": json.loads(options["params"])}
    assert service.opened == [opened]


def test_two_streams_in_turn_keep_a_connection_each(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    first, second = client.submit(1), client.submit(2, by_name=True)
    assert [client.collect(ticket).values for ticket in (first, second)] == [[2], [4]]
    for i in range(5):
        assert client.score(i) == [2 * i]
        assert client.score(i, by_name=True) == [2 * i]
    assert (len(service.opened), client.open_connections) == (2, 2)


def test_an_error_of_the_model_arrives_with_all_its_parts(serve: Serve, pool: Pool, service: ToyService) -> None:
    def fail(batch: pa.RecordBatch) -> pa.Array:
        if batch.column(0)[0].as_py() < 0:
            raise PredictError("Cannot score with 'toy'", "negative", "pass positive values", "Traceback:\n  ünïcode")
        return double(batch)

    service.predict = fail
    client = pool(serve())
    with pytest.raises(JvmError) as caught:
        client.score(-1)
    parts = caught.value.parts
    assert parts["class"] == "io.sparkmodel.wire.ModelException"
    assert (parts["condition"], parts["fact"], parts["hint"]) == ("PREDICT_FAILED", "negative", "pass positive values")
    assert parts["details"] == "Traceback:\n  ünïcode"
    assert str(caught.value).startswith("[PREDICT_FAILED] Cannot score with 'toy': negative. Hint: pass positive")
    assert client.score(3) == [6]
    assert client.open_connections == 1


def test_a_batch_that_is_too_large_is_refused_here_and_costs_nobody_else(
    serve: Serve, pool: Pool, service: ToyService
) -> None:
    client = pool(serve(max_batch_bytes=1000))
    with pytest.raises(JvmError, match="1000") as caught:
        client.score(*range(1000))
    assert caught.value.condition == "BATCH_TOO_LARGE"
    assert client.score(4) == [8]
    assert service.seen == [4]


def test_many_threads_share_a_bounded_number_of_connections(serve: Serve, pool: Pool) -> None:
    servers = [serve(ToyService()), serve(ToyService())]
    client = pool(*servers)
    batch = {key: value for key, value in client.batch(numbers(1, 2)).items() if key != "client"}
    payloads = client.jvm.call("load", client=client.number, threads=20, each=100, **batch)
    answer = p.batch_from_buffer(base64.b64decode(payloads[0]), pa.schema([("prediction", pa.float64())]), "test")
    assert (len(payloads), answer.column(0).to_pylist()) == (1, [2, 4])
    assert client.open_connections <= 40, "each thread's one batch at a time may have been at either worker"
    assert sum(len(server.service.seen) for server in servers) == 2000  # type: ignore[attr-defined]


@pytest.fixture
def shared(serve: Serve) -> Handle:
    server = serve()
    return handle_of(server, pool_id=f"shared-{id(server)}")


def test_a_pool_has_one_client_whose_idle_connections_are_closed_by_one_thread(jvm: Jvm, shared: Handle) -> None:
    client = Client(jvm, jvm.call("of", handle=text_of(shared)))
    assert jvm.call("of", handle=text_of(shared)) == client.number
    for i in range(3):
        assert client.score(i) == [2 * i]
    jvm.call("sweep", ahead_s=50.0)
    assert client.open_connections == 1, "it was used a moment ago"
    assert jvm.call("sweep", ahead_s=70.0), "its client is kept"
    assert client.open_connections == 0
    assert client.score(7) == [14]
    assert jvm.call("of", handle=text_of(shared)) == client.number
    assert jvm.call("threads").count("sparkmodel-idle-connections") == 1
    jvm.call("sweep", ahead_s=400.0)
    assert client.open_connections == 0
    assert jvm.call("of", handle=text_of(shared)) != client.number, "it was forgotten"


def test_a_client_with_a_batch_under_way_is_not_forgotten(jvm: Jvm, shared: Handle) -> None:
    client = Client(jvm, jvm.call("of", handle=text_of(shared)))
    ticket = client.submit(1)
    jvm.call("sweep", ahead_s=400.0)
    assert jvm.call("of", handle=text_of(shared)) == client.number
    assert client.collect(ticket).values == [2]
