# SPDX-License-Identifier: Apache-2.0
"""Faults that are caused for real: every answer says which row it is for and who gave it."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sparkmodel.errors import DeadlineExceededError, PredictTimeoutError
from sparkmodel.wire.server import Server
from tests.proxy import Proxy
from tests.unit.wire.apart import STEP, Apart
from tests.unit.wire.test_client import in_flight, score
from tests.unit.wire.toys import HandleClient, RawClient, ToyService, ToyWorker, listing, numbers, wait_until
from tests.unit.wire.uneven import SLOW_S, Pauses, after

DEADLINE_S = 2.0
LATE_S = 4.0  # a busy machine wakes a thread late; the promise itself is one second


@pytest.fixture
def pairs() -> Iterator[list[list[Apart]]]:
    """Twice two workers in processes of their own."""
    workers = [[Apart(which) for which in range(2)] for _ in range(2)]
    yield workers
    for worker in itertools.chain(*workers):
        worker.close()


@pytest.mark.fault("F15")
def test_a_worker_that_brings_nothing_holds_no_call_past_its_deadline_and_is_used_again(
    pairs: list[list[Apart]], serve: Callable[..., Server], pool: Callable[..., HandleClient]
) -> None:
    """One that stands still, and one behind a black hole; at the same time, for both wait for most of it."""
    with contextlib.ExitStack() as stack:
        begun = []
        for is_stopped, (bad, good) in zip((True, False), pairs, strict=True):
            proxy = stack.enter_context(contextlib.closing(Proxy(bad.endpoint)))
            master = ToyService()
            endpoints = (proxy.endpoint, good.endpoint)
            master.directory = listing(1, endpoints)
            client = pool(serve(master), directory=listing(1, endpoints), master=None)
            begun.append((client, bad, None if is_stopped else proxy))
        with ThreadPoolExecutor(2) as threads:
            for shown in [threads.submit(brings_nothing, *arguments) for arguments in begun]:
                shown.result(300)


def brings_nothing(client: HandleClient, bad: Apart, proxy: Proxy | None) -> None:
    """Worker 0 of two brings nothing for a while: it is stopped, if there is no proxy that takes all."""
    done, seen, longest = threading.Event(), collections.Counter[int](), [0.0]

    def call(caller: int) -> int:
        late = 0
        while not done.is_set():
            began = time.monotonic()
            try:
                (answer,) = client.predict([numbers(caller, caller + 10)], False, DEADLINE_S)
                first, second = map(int, answer.to_pylist())
                assert (first // STEP, second // STEP) == (caller, caller + 10)
                assert first % STEP == second % STEP
                seen[first % STEP] += 1
            except (DeadlineExceededError, PredictTimeoutError):
                late += 1
            longest[0] = max(longest[0], time.monotonic() - began)
            done.wait(0.03)
        return late

    with ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(call, caller) for caller in range(3)]
        try:
            wait_until(lambda: min(seen[0], seen[1]) > 5, "both answer")
            if proxy is not None:
                proxy.go_dark()
            else:
                os.kill(bad.process.pid, signal.SIGSTOP)
            time.sleep(DEADLINE_S + LATE_S + 1)
            before = seen[1]
            wait_until(lambda: seen[1] > before + 20, "the other one answers")
            if proxy is not None:
                proxy.go_light()
            os.kill(bad.process.pid, signal.SIGCONT)
            before = seen[0]
            wait_until(lambda: seen[0] > before + 5, "it is used again")
        finally:
            done.set()
        late = [call.result(120) for call in calls]
    assert longest[0] < DEADLINE_S + LATE_S
    assert sum(late) <= 12, "who was late once goes elsewhere for a while"
    assert in_flight(client) == 0


@pytest.mark.fault("F6")
@pytest.mark.parametrize(("workers", "is_shared"), [(4, True), (4, False), (2, False)])
def test_a_slow_worker_gets_a_fifth_of_what_taking_turns_would_give_it(
    serve: Callable[..., Server], pool: Callable[..., HandleClient], workers: int, is_shared: bool
) -> None:
    """Callers that share a client, and callers of which each sees its own calls only, as Spark's tasks do.

    On a machine that stops now and then all workers are slow: a round in which it did is done again.
    """
    calls, callers = 20 * workers, 8
    for _ in range(20):
        services = [ToyWorker() for _ in range(workers)]
        for service, pause in zip(services, [SLOW_S] + [SLOW_S / 20] * (workers - 1), strict=True):
            service.predict = after(pause)
        servers = [serve(service) for service in services]
        master = ToyService()
        master.directory = listing(1, [server.endpoint for server in servers])
        door = serve(master)
        clients = [pool(*servers, master=door) for _ in range(1 if is_shared else callers)]

        def run(caller: int, clients: list[HandleClient] = clients) -> None:
            client = clients[caller % len(clients)]
            for i in range(calls):
                assert score(client, caller * 1000 + i) == [2 * (caller * 1000 + i)]

        with Pauses() as pauses, ThreadPoolExecutor(callers) as threads:
            list(threads.map(run, range(callers)))
        assert sum(len(service.seen) for service in services) == callers * calls
        if pauses.longest_s < SLOW_S / 2:
            break
    assert len(services[0].seen) <= callers * calls / workers / 5


@pytest.mark.fault("F12")
def test_the_same_batch_of_the_same_query_twice_at_once_has_the_same_rows(
    serve: Callable[..., Server], service: ToyService, raw: Callable[..., RawClient]
) -> None:
    """As of a speculative copy of a task, or of a task's next attempt while the first is still in the model."""
    server = serve(max_concurrency=1)
    attempts = [raw(server) for _ in range(2)]
    for attempt in attempts:
        attempt.hello()
        attempt.open(query="q")
    with service.held():
        for attempt in attempts:
            attempt.batch(7, 1.0, 2.0, 3.0)
        wait_until(lambda: len(service.seen) == 1, "one is in the model, the other waits")
    assert [attempt.values(7) for attempt in attempts] == [[2.0, 4.0, 6.0]] * 2
    assert service.seen == [1.0, 1.0]


class Refusing:
    """A port whose owner is gone, and which counts those who come nevertheless."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.endpoint: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                sock = self._listener.accept()[0]
                self.times.append(time.monotonic())
                sock.close()
        except OSError:
            return

    def close(self) -> None:
        """Leave the port to another."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.mark.fault("F26")
def test_while_all_workers_are_away_callers_come_back_with_pauses_and_go_on_with_the_first_that_serves(
    serve: Callable[..., Server], pool: Callable[..., HandleClient]
) -> None:
    gone, callers, away_s = [Refusing() for _ in range(2)], 8, 3.0
    endpoints = [refusing.endpoint for refusing in gone]
    master = ToyService()
    master.directory = listing(1, endpoints, "healing")
    client = pool(serve(master), directory=listing(1, endpoints))
    with ThreadPoolExecutor(callers) as threads:
        results = [threads.submit(score, client, caller) for caller in range(callers)]
        time.sleep(away_s)
        attempts = [len(refusing.times) for refusing in gone] + [len(master.asked)]
        assert not any(result.done() for result in results), [r.exception() for r in results if r.done()]
        back = [refusing.endpoint[1] for refusing in gone]
        for refusing in gone:
            refusing.close()
        began = time.monotonic()
        for port in back:
            serve(ToyWorker(), port=port)
        assert [result.result(120) for result in results] == [[2.0 * caller] for caller in range(callers)]
        assert time.monotonic() - began < 10
    for count in attempts:  # each comes a few times a second to the workers' ports, and to the master
        assert count <= callers * away_s * 10
