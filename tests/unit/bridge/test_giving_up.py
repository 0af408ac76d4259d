# SPDX-License-Identifier: Apache-2.0
"""How a task of Spark's that ends early lets go of its batches: release, a watch that throws, an interruption."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError  # the builtin one since Python 3.11
from typing import Any

import pyarrow.compute as pc
import pytest

from sparkmodel.wire import protocol as p
from sparkmodel.wire.server import Server
from tests.bridge import JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.bridge.test_faults import FIRST, GREETING, OPENED
from tests.unit.wire.liar import Liar, hang_up
from tests.unit.wire.toys import ToyService, greet, listing, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., Client]
GiveUp = Callable[[Client, Any, str], str]


def trip(client: Client, call: Any, watch: str) -> str:
    """Let the watch of a call throw; returns what the call should end with."""
    client.jvm.call("trip", watch=watch)
    return "io.sparkmodel.wire.ClientMain$Tripped"


def interrupt(client: Client, call: Any, watch: str) -> str:
    """Interrupt the thread of a call."""
    client.jvm.call("interrupt", call=call.number)
    return "java.lang.InterruptedException"


@pytest.fixture(params=[trip, interrupt], ids=["watch", "interrupt"])
def give_up(request: pytest.FixtureRequest) -> GiveUp:
    way: GiveUp = request.param
    return way


@pytest.mark.fault("F14")
def test_a_released_batch_is_dropped_by_its_worker(serve: Serve, pool: Pool, service: ToyService) -> None:
    server = serve()
    client = pool(server)
    with service.held():
        first = client.submit(1)
        wait_until(lambda: service.seen == [1], "the first is in the model")
        second = client.submit(2)
        wait_until(lambda: server.gate.load == 2, "the second waits")
        for _ in range(2):
            client.release(second)
        wait_until(lambda: server.gate.load == 1, "the worker drops it")
        assert client.open_connections == 1
    assert client.collect(first).values == [2]
    client.release(first)
    assert client.open_connections == 1, "what was answered is nothing to give up"
    assert client.score(3) == [6]
    assert service.seen == [1, 3]
    with pytest.raises(JvmError) as caught:
        client.collect(second)
    assert caught.value.condition == "java.util.concurrent.CancellationException"


def test_a_batch_that_another_thread_releases_ends_the_wait_for_it(
    serve: Serve, pool: Pool, service: ToyService
) -> None:
    other = ToyService()
    client = pool(serve(), serve(other))
    with service.held(), other.held():
        ticket = client.submit(1)
        wait_until(lambda: service.seen + other.seen == [1], "it is in a model")
        collected = client.jvm.start("collect", ticket=ticket)
        with pytest.raises(FutureTimeoutError):
            collected.result(0.3)
        client.release(ticket)
        with pytest.raises(JvmError) as caught:
            collected.result(60)
        assert caught.value.condition == "java.util.concurrent.CancellationException"
        assert client.open_connections == 0
    assert service.seen + other.seen == [1], "it was not sent to the other worker"


def check_given_up(client: Client, call: Any, watch: str, give_up: GiveUp) -> None:
    """A call waits, and ends when it is given up."""
    with pytest.raises(FutureTimeoutError):
        call.result(0.3)
    expected = give_up(client, call, watch)
    with pytest.raises(JvmError) as caught:
        call.result(60)
    assert caught.value.condition == expected


def test_giving_up_ends_the_wait_for_an_answer(serve: Serve, pool: Pool, service: ToyService, give_up: GiveUp) -> None:
    server = serve()
    client = pool(server)
    watch = f"answer-{id(client)}"
    with service.held():
        first = client.submit(1)
        wait_until(lambda: service.seen == [1], "one is in the model")
        second = client.submit(2)
        wait_until(lambda: server.gate.load == 2, "one waits")
        call = client.jvm.start("collect", ticket=second, watch=watch)
        check_given_up(client, call, watch, give_up)
        wait_until(lambda: server.gate.load == 1, "the worker drops it")
        assert client.open_connections == 1
    assert client.collect(first).values == [2]
    assert service.seen == [1]


def test_giving_up_ends_the_wait_for_a_pool_that_heals(serve: Serve, pool: Pool, give_up: GiveUp) -> None:
    master = ToyService()
    master.directory = listing(2, (), "healing", 1)
    client = pool(master=serve(master), directory=master.directory)
    watch = f"heals-{id(client)}"
    call = client.submitted(1, watch=watch)
    check_given_up(client, call, watch, give_up)
    assert client.open_connections == 0


class Deaf(Liar):
    """Greets, opens a stream and reads no more."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        super().__init__(hang_up)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(EOFError, OSError), sock:
            greet(sock)
            greeting = {**GREETING, "max_batch_bytes": 1 << 30}
            p.send(sock, p.pack_answer(p.Answer(p.INFO, 0, FIRST, payload=p.to_json(greeting))))
            p.read_request(sock, 0, "liar")
            p.send(sock, p.pack_answer(p.Answer(p.INFO, 0, FIRST, payload=p.to_json(OPENED))))
            self.batches += 1
            self.ended.wait()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    made = Deaf()
    yield made
    made.ended.set()
    made.close()


def test_giving_up_ends_a_write_that_is_stuck(pool: Pool, deaf: Deaf, give_up: GiveUp) -> None:
    client = pool(deaf)
    watch = f"write-{id(client)}"
    call = client.submitted(*range(700_000), watch=watch)
    wait_until(lambda: deaf.batches == 1, "the batch is on its way")
    check_given_up(client, call, watch, give_up)
    assert client.open_connections == 0


def test_a_worker_that_does_not_read_is_given_up_uncounted(
    pool: Pool, deaf: Deaf, serve: Serve, service: ToyService
) -> None:
    service.predict = lambda batch: pc.multiply(batch.column(0), 2.0)  # long before the other is given up
    live = serve()
    client = pool(deaf, live, stalled_s=0.5, max_retries=0)  # long before the answer would be late
    values = list(range(700_000))
    wait_until(lambda: client.score(*values)[-1] == 2 * values[-1] and deaf.batches > 0, "it was tried there")


def test_a_caller_without_memory_for_the_answer_leaves_nothing_behind(serve: Serve, pool: Pool) -> None:
    client = pool(serve())
    ticket = client.submit(1)
    with pytest.raises(JvmError, match="the test's allocator") as caught:
        client.collect(ticket, fail=True)
    assert caught.value.condition == "java.lang.OutOfMemoryError"
    assert client.open_connections == 0
    assert client.score(2) == [4]
