# SPDX-License-Identifier: Apache-2.0
"""The bridge's client finds out what became of its batches, and of silent hosts: what calls.json leaves open."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.wire.server import Server
from sparkmodel.wire.verdicts import CRASH, IN_MODEL, KILLED, WAITING, Fate, Verdict
from tests.bridge import Jvm, JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.wire.liar import dead_endpoint
from tests.unit.wire.toys import ToyService, listing

Serve = Callable[..., Server]
Pool = Callable[..., Client]
SIGSEGV = Fate(fate=IN_MODEL, cause=CRASH, fact="its worker was ended by SIGSEGV")


class Master(ToyService):
    """Tells fates as `tell` says, and keeps the verdicts that it is told.

    Attributes:
        lost: The batches that it was asked about: session and number.
    """

    def __init__(self, tell: Callable[[], Fate]) -> None:
        super().__init__()
        self.tell, self.lost, self.condemned = tell, list[tuple[int, int]](), list[Verdict]()

    def fate(self, endpoint: Any, session: int, seq: int) -> Fate:
        self.lost.append((session, seq))
        return self.tell()

    def condemn(self, verdict: Verdict) -> None:
        self.condemned.append(verdict)


class Mortal(ToyService):
    """Its connections are lost as a batch with a negative value, or one beyond `most` rows, is in its model."""

    server: Server
    most = 1 << 30

    def score(self, batch: Any) -> Any:
        if batch.num_rows > self.most or min(batch.column(0).to_pylist()) < 0:
            self.seen.append(batch.column(0).to_pylist())
            for session in self.server._open_sessions():
                session.close()
        return super().score(batch)


def mortals(serve: Serve, count: int = 2) -> list[Mortal]:
    made = [Mortal() for _ in range(count)]
    for mortal in made:
        mortal.server = serve(mortal)
    return made


def refused(client: Client, *values: float, **more: Any) -> JvmError:
    with pytest.raises(JvmError) as caught:
        client.score(*values, **more)
    return caught.value


def test_a_batch_that_ends_its_workers_is_named_and_remembered(serve: Serve, pool: Pool) -> None:
    workers = mortals(serve)
    master = Master(lambda: SIGSEGV)
    client = pool(*(worker.server for worker in workers), master=serve(master))
    told = client.jvm.call("caller", partition=3)
    assert client.score(1, caller=told) == [2]
    error = refused(client, -1, 2, caller=told)
    assert error.condition == "POISON_BATCH"
    assert error.parts["what"] == "Cannot score with 'toy'"
    assert error.parts["fact"] == (
        "2 rows of partition 3, batch 2 ended 2 workers of version 1, the last: its worker was ended by SIGSEGV"
    )
    verdict = master.condemned[0]
    assert (verdict.version, verdict.rows, verdict.condition) == (1, 2, "POISON_BATCH")
    assert len(verdict.key) == 32
    scored = sum(len(worker.seen) for worker in workers)
    again = refused(client, -1, 2, query="another", pin=1)
    assert (again.condition, again.parts["fact"]) == (error.condition, error.parts["fact"])
    assert sum(len(worker.seen) for worker in workers) == scored, "no worker was asked"
    assert client.open_connections == 0


def test_a_batch_is_known_by_its_bytes_and_by_how_it_is_called(serve: Serve, pool: Pool) -> None:
    workers = mortals(serve)
    master = Master(lambda: SIGSEGV)
    client = pool(*(worker.server for worker in workers), master=serve(master))
    keys = []
    for more in ({}, {"params": '{"a": 1}'}, {"time_zone": "Europe/Rome"}, {"by_name": True}):
        for values in ((-1, 2), (-1, 3)):
            refused(client, *values, **more)
            keys.append(master.condemned[-1].key)
    assert len(set(keys)) == 8


def test_rows_that_end_workers_are_found_and_the_others_scored(serve: Serve, pool: Pool) -> None:
    workers = mortals(serve, 3)
    master = Master(lambda: SIGSEGV)
    client = pool(*(worker.server for worker in workers), master=serve(master), max_retries=1)
    values = [float(i) for i in range(20)]
    values[4] = values[17] = -1.0
    collected = client.collect(client.submit(*values, on_error="null"))
    assert collected.values == [None if value < 0 else 2 * value for value in values]
    assert collected.parts["retries"] > 8
    assert [verdict.rows for verdict in master.condemned].count(1) == 2
    assert client.score(-1, on_error="null") == [None], "a single row too"
    before = len(master.lost)
    assert client.score(-1, on_error="null") == [None]
    assert len(master.lost) == before, "it is known by now"


def test_a_batch_that_is_too_large_for_its_model_is_scored_in_parts(serve: Serve, pool: Pool) -> None:
    workers = mortals(serve)
    for worker in workers:
        worker.most = 6
    killed = Fate(fate=IN_MODEL, cause=KILLED, fact="its worker was ended by SIGKILL")
    client = pool(*(w.server for w in workers), master=serve(Master(lambda: killed)), max_retries=1)
    assert client.score(*range(20), on_error="null") == [2 * value for value in range(20)]


def test_a_batch_that_only_waits_where_workers_end_is_given_up_when_the_pool_is_not_ready_in_time(
    serve: Serve, pool: Pool
) -> None:
    workers = mortals(serve)
    for worker in workers:
        worker.most = 0
    master = Master(lambda: Fate(fate=WAITING))
    master.directory = listing(1, [worker.server.endpoint for worker in workers])
    client = pool(*(w.server for w in workers), master=serve(master), max_retries=0, ready_timeout_s=2.5)
    error = refused(client, 1)
    assert error.condition == "WORKER_LOST"
    assert "waited in worker after worker" in error.parts["fact"]
    assert len(master.lost) >= 3


def test_all_known_workers_unreachable_is_the_masters_matter_and_has_an_end(serve: Serve, pool: Pool) -> None:
    master = ToyService()
    stale = master.directory = listing(1, [dead_endpoint() for _ in range(3)])
    client = pool(master=serve(master), directory=stale, ready_timeout_s=1.0)
    error = refused(client, 1)
    assert error.condition == "POOL_GONE"
    assert "no worker came back" in error.parts["fact"]
    assert len(master.asked) >= 2


def test_the_system_watches_a_connection_on_which_nothing_is_said(jvm: Jvm, serve: Serve) -> None:
    host, port = serve().endpoint
    options = jvm.call("options", host=host, port=port)
    expected = {"SO_KEEPALIVE": True, "TCP_NODELAY": True, "TCP_KEEPIDLE": 2, "TCP_KEEPINTERVAL": 1, "TCP_KEEPCOUNT": 3}
    assert {name: options[name] for name in expected} == expected


def test_a_worker_that_stops_amid_its_answer_is_lost(serve: Serve, pool: Pool, service: ToyService) -> None:
    """A relay that passes the first half of an answer only, and keeps its connections."""
    server = serve()
    listener = socket.create_server(("127.0.0.1", 0))
    passed = threading.Event()

    def pump(source: socket.socket, target: socket.socket, most: int) -> None:
        with contextlib.suppress(OSError):
            while most > 0 and (data := source.recv(min(most, 1 << 16))):
                target.sendall(data)
                most -= len(data)
            passed.wait(60)

    def relay() -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = listener.accept()
                outer = socket.create_connection(server.endpoint)
                threading.Thread(target=pump, args=(inner, outer, 1 << 30), daemon=True).start()
                threading.Thread(target=pump, args=(outer, inner, 40_000), daemon=True).start()

    threading.Thread(target=relay, daemon=True).start()
    directory = listing(1, [listener.getsockname()])
    client = pool(server, directory=directory, timeout_s=0.5, silence_s=0.5, max_retries=0)
    try:
        error = refused(client, *range(20_000))
    finally:
        passed.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    assert error.condition == "WORKER_LOST"
    assert "silent for 1.0 s" in error.parts["fact"]
