# SPDX-License-Identifier: Apache-2.0
"""Workers that end, stop, are slow or swallow what they are sent, and masters that saw it. Real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sparkmodel.errors import (
    DeadlineExceededError,
    PoisonBatchError,
    PoolBusyError,
    PoolGoneError,
    PredictTimeoutError,
    WorkerLostError,
)
from sparkmodel.wire import receiver, sender
from sparkmodel.wire import verdicts as v
from sparkmodel.wire.directory import Endpoint
from sparkmodel.wire.server import Server
from sparkmodel.wire.sockets import tune
from sparkmodel.wire.verdicts import Fate, Verdict
from tests.unit.wire.liar import Liar, dead_endpoint, hang_up, say_nothing
from tests.unit.wire.test_client import in_flight, score
from tests.unit.wire.toys import HandleClient, ToyService, double, listing, numbers, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]


class Master(ToyService):
    """Says of each batch what the test has it say, and keeps what it is told."""

    def __init__(self, fate: Fate, *endpoints: Endpoint) -> None:
        super().__init__()
        self.directory = listing(1, endpoints)
        self.told, self.asked_of, self.condemned = fate, 0, list[Verdict]()

    def fate(self, endpoint: Endpoint, session: int, seq: int) -> Fate:
        """As the test wants."""
        self.asked_of += 1
        return self.told

    def condemn(self, verdict: Verdict) -> None:
        """Kept."""
        self.condemned.append(verdict)


def in_model(cause: str) -> Fate:
    return Fate(fate=v.IN_MODEL, cause=cause, fact=f"its worker ended ({cause})")


Lie = Callable[..., Liar]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed ten times as soon."""
    monkeypatch.setattr(receiver, "_QUIET_S", 0.3)
    monkeypatch.setattr(receiver, "LEAVE_S", 0.6)
    monkeypatch.setattr(sender, "LEAVE_S", 0.6)


def test_a_batch_that_ends_workers_is_refused_at_once_from_then_on_and_told_of_once(
    serve: Serve, pool: Pool, lie: Lie
) -> None:
    dying = lie(hang_up)
    master = Master(in_model(v.CRASH), dying.endpoint)
    client = pool(dying, master=serve(master))
    with pytest.raises(PoisonBatchError, match="2 workers of version 1"):
        score(client, 1)
    for _ in range(3):
        with pytest.raises(PoisonBatchError, match="2 workers of version 1"):
            score(client, 1)
    assert (dying.batches, len(master.condemned), master.asked_of) == (2, 1, 2)
    with pytest.raises(PoisonBatchError):
        score(client, 2)
    assert dying.batches == 4, "another batch is judged for itself"


def test_what_one_caller_condemned_another_learns_from_the_directory(serve: Serve, pool: Pool, lie: Lie) -> None:
    dying = lie(hang_up)
    master = Master(in_model(v.HANG), dying.endpoint)
    with pytest.raises(PredictTimeoutError):
        score(pool(dying, master=serve(master)), 1)
    worker = ToyService()
    directory = listing(2, (serve(worker).endpoint,), condemned=tuple(master.condemned))
    other = pool(master=serve(master), directory=directory)
    with pytest.raises(PredictTimeoutError, match="1 row of batch 1 took the model, version 1, too long"):
        score(other, 1)
    assert (score(other, 2), worker.seen) == ([4], [2])


def test_a_batch_that_waits_in_worker_after_worker_that_ends_is_given_up_in_the_end(
    serve: Serve, pool: Pool, lie: Lie
) -> None:
    dying = lie(hang_up)
    master = Master(Fate(fate=v.WAITING, cause=v.CRASH, fact="its worker was ended by SIGSEGV"), dying.endpoint)
    client = pool(dying, master=serve(master), ready_timeout_s=2.5, max_retries=0)
    with pytest.raises(WorkerLostError, match=r"waited in worker after worker that ended .* SIGSEGV"):
        score(client, 1)
    assert 2 <= dying.batches < 20, "again and again, but not without a pause"
    with pytest.raises(PoolBusyError):
        score(client, 1, timeout_s=0.4)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fate", [v.ALIVE, v.UNKNOWN])
def test_a_silent_worker_of_which_nobody_knows_is_left_for_another_one(
    serve: Serve, pool: Pool, lie: Lie, fate: str
) -> None:
    silent, toy = lie(say_nothing), ToyService()
    server = serve(toy)
    master = Master(Fate(fate=fate), silent.endpoint, server.endpoint)
    client = pool(master=serve(master), directory=master.directory, max_retries=0)
    started = time.monotonic()
    answers = [score(client, i) for i in range(20)]
    assert answers == [[2 * i] for i in range(20)]
    assert silent.batches > 0
    assert time.monotonic() - started < 30, "timeout_s is 60 s"


@pytest.mark.usefixtures("soon")
def test_a_silent_worker_that_has_the_batch_in_its_model_is_waited_for(serve: Serve, pool: Pool, lie: Lie) -> None:
    silent, other = lie(lambda sock, seq: time.sleep(2.0) or hang_up(sock, seq)), ToyService()
    master = Master(in_model(""), silent.endpoint)
    client = pool(master=serve(master), directory=master.directory, max_retries=0)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(score, client, 1)
        wait_until(lambda: master.asked_of >= 2, "it is asked of again and again")
        master.directory = listing(2, (silent.endpoint, serve(other).endpoint))
        with pytest.raises(WorkerLostError):
            answer.result(60)
    assert (silent.batches, other.seen) == (1, [])


@pytest.mark.usefixtures("soon")
def test_where_there_is_no_other_worker_a_silent_one_is_waited_for(serve: Serve, pool: Pool, lie: Lie) -> None:
    def late(sock: socket.socket, seq: int) -> None:
        time.sleep(2.0)
        hang_up(sock, seq)

    silent = lie(late)
    master = Master(Fate(), silent.endpoint)
    with pytest.raises(WorkerLostError):
        score(pool(silent, master=serve(master), max_retries=0), 1)
    assert silent.batches == 1


def test_a_deadline_holds_while_a_worker_is_silent(serve: Serve, pool: Pool, lie: Lie) -> None:
    silent = lie(say_nothing)
    client = pool(silent, serve(Master(Fate(fate=v.ALIVE))))
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        list(client.predict([numbers(float(i)) for i in range(50)], False, 1.0))
    assert time.monotonic() - started < 30


_WORKER = """
import sys
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import ToyWorker
server = Server(ToyWorker(), "127.0.0.1")
print(server.endpoint[1], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def worker_process() -> Iterator[tuple[subprocess.Popen[str], Endpoint]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, ("127.0.0.1", int(process.stdout.readline()))
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@pytest.mark.fault("F15")
def test_a_stopped_worker_holds_no_call_for_long_although_nobody_judges(serve: Serve, pool: Pool) -> None:
    toy = ToyService()
    with worker_process() as (process, endpoint):
        directory = listing(1, (endpoint, serve(toy).endpoint))
        client = pool(master_endpoint=dead_endpoint(), directory=directory, max_retries=0, max_in_flight=8)
        batches = [numbers(float(i)) for i in range(16)]
        routes = client._router.routes
        while not routes[endpoint].idle:  # without a kept connection it would only fail to be connected
            assert len(list(client.predict(batches, False))) == 16
            for route in routes.values():
                route.load, route.seconds = 0, None  # so that both get some
        os.kill(process.pid, signal.SIGSTOP)
        started = time.monotonic()
        answers = [array.to_pylist() for array in client.predict(batches, False)]
        took = time.monotonic() - started
    assert answers == [[2.0 * i] for i in range(16)]
    assert client.retries > 0
    assert took < 25, "some batches were on it: these were left after 6 s, all at the same time"
    assert in_flight(client) == 0


class BlackHole:
    """Passes bytes on between a client and a worker until it swallows them."""

    def __init__(self, target: Endpoint) -> None:
        self.swallows = False
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint: Endpoint = self._listener.getsockname()
        self._socks: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for sock in (self._listener, *self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, far = self._listener.accept()[0], socket.create_connection(self._target)
                self._socks += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not self.swallows:
                    sink.sendall(data)


@pytest.mark.usefixtures("soon")
def test_what_a_black_hole_swallows_is_scored_elsewhere(serve: Serve, pool: Pool) -> None:
    far, near = ToyService(), ToyService()
    with contextlib.closing(BlackHole(serve(far).endpoint)) as hole:
        master = Master(Fate(fate=v.ALIVE), hole.endpoint, serve(near).endpoint)
        client = pool(master=serve(master), directory=master.directory, max_retries=0, max_in_flight=4)
        batches = [numbers(float(i)) for i in range(12)]
        assert len(list(client.predict(batches, False))) == 12
        assert far.seen
        hole.swallows = True
        answers = [array.to_pylist() for array in client.predict(batches, False)]
    assert answers == [[2.0 * i] for i in range(12)]


def test_a_connection_notices_a_host_that_has_gone_dark() -> None:
    with socket.socket() as sock:
        tune(sock)
        told = {
            name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert told.pop("TCP_NODELAY")
    assert told == {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 8000}


@pytest.mark.fault("F6")
def test_a_slow_worker_of_two_gets_what_it_can_do_and_not_half_of_the_work(serve: Serve, pool: Pool) -> None:
    services = [ToyService(), ToyService()]

    def taking(seconds: float) -> Callable[..., Any]:
        return lambda batch: (time.sleep(seconds), double(batch))[1]

    for toy, seconds in zip(services, (0.005, 0.1), strict=True):
        toy.predict = taking(seconds)
    client = pool(*(serve(toy) for toy in services))
    answers = [array.to_pylist() for array in client.predict([numbers(float(i)) for i in range(200)], False)]
    assert answers == [[2.0 * i] for i in range(200)]
    assert len(services[1].seen) <= 20, "taking turns would give it 100, and take five times as long"


@pytest.mark.fault("F26")
def test_a_pool_that_is_down_is_not_stormed_and_found_soon_when_it_is_back(
    serve: Serve, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [serve(ToyService()), serve(ToyService())]
    endpoints = [server.endpoint for server in servers]
    master = ToyService()
    master.directory = listing(1, endpoints)
    client = pool(*servers, master=serve(master), directory=master.directory, ready_timeout_s=30.0)
    assert score(client, 1) == [2]
    for server in servers:
        server.close()
    attempts: list[Any] = []
    connect = socket.create_connection

    def counted(address: Any, *more: Any, **options: Any) -> socket.socket:
        attempts.append(address)
        return connect(address, *more, **options)

    monkeypatch.setattr(socket, "create_connection", counted)
    with ThreadPoolExecutor(16) as threads:
        calls = [threads.submit(score, client, i) for i in range(16)]
        time.sleep(2.0)
        assert not any(call.done() for call in calls)
        assert len(attempts) < 100, "16 callers of their own would make 200 and more"
        back = time.monotonic()
        for endpoint in endpoints:
            serve(ToyService(), port=endpoint[1])
        assert [call.result(60) for call in calls] == [[2 * i] for i in range(16)]
    assert time.monotonic() - back < 10


def test_when_no_worker_that_is_known_can_be_reached_the_master_is_asked_and_deadlines_hold(
    serve: Serve, pool: Pool
) -> None:
    master = ToyService()
    dead = [dead_endpoint() for _ in range(4)]
    master.directory = listing(2, dead)
    client = pool(master=serve(master), directory=listing(1, dead))
    started = time.monotonic()
    with pytest.raises(PoolBusyError):
        score(client, 1, timeout_s=1.5)
    assert 1 < len(master.asked) < 30, "with pauses"
    with pytest.raises(PoolGoneError, match="no worker came back"):
        score(pool(master=serve(master), directory=listing(1, dead), ready_timeout_s=1.0), 1)
    assert time.monotonic() - started < 30
    live = serve(ToyService())
    master.directory = listing(3, (live.endpoint,))
    assert score(client, 3) == [6]
