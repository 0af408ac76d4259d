# SPDX-License-Identifier: Apache-2.0
"""The bridge's client among strangers, and with what it shows when its time is over."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.wire import protocol as p
from sparkmodel.wire.capabilities import Renewals, issue
from sparkmodel.wire.greeting import from_text
from sparkmodel.wire.server import Server
from tests.bridge import Jvm, JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.wire.spy import LIES, Spy
from tests.unit.wire.toys import ToyService, ToyWorker, credential_of, listing

Serve = Callable[..., Server]
Pool = Callable[..., Client]


def shown(*given: Any) -> dict[str, Any]:
    """What a handle has of a new capability."""
    return dataclasses.asdict(issue(*given))


@pytest.mark.parametrize("say", LIES)
def test_who_has_the_port_of_a_dead_worker_learns_nothing_that_opens_the_pool(
    serve: Serve, pool: Pool, say: Callable[..., Any]
) -> None:
    with contextlib.closing(Spy(say)) as fake:
        right = serve()
        client = pool(fake, right, master=right, pool_id="toy")
        value = 0
        while value < 6 or not fake.heard:  # which worker is asked is chance
            assert client.score(value) == [2 * value]
            client.close()
            value += 1
    key = credential_of().key
    assert b"app-1" in fake.heard, "it was asked"
    assert not any(secret in fake.heard for secret in (b"secret", key.encode(), from_text(key), b"proof"))


def test_a_server_that_speaks_ever_so_slowly_is_given_up(serve: Serve, pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                sock, _ = listener.accept()
                with sock:
                    for byte in p.pack_preface() + bytes(1000):
                        sock.sendall(bytes([byte]))
                        if is_over.wait(0.2):
                            return

        slow = threading.Thread(target=drip)
        slow.start()
        right = serve()
        began = time.monotonic()
        client = pool(right, directory=listing(1, (listener.getsockname(), right.endpoint)))
        assert [client.score(value) for value in range(6)] == [[2 * value] for value in range(6)]
        assert time.monotonic() - began < 30
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        slow.join()


def test_a_stream_that_outlives_its_handle_goes_on(serve: Serve, pool: Pool) -> None:
    service = ToyService()
    workers = [serve(ToyWorker()) for _ in range(2)]
    master = serve(service, admit=Renewals("secret", 1.0, owner="app").admit)
    service.directory = listing(1, [worker.endpoint for worker in workers])
    client = pool(*workers, master=master, pool_id="toy", **shown("secret", "toy", "app", 1.0))
    until = time.monotonic() + 4.0
    count = 0
    while time.monotonic() < until:
        client.close()  # nothing is kept: each batch has to be let in
        assert client.score(count) == [2 * count]
        count += 1
        time.sleep(0.05)
    assert count > 10


def test_an_application_that_nobody_attends_to_is_told_so(serve: Serve, pool: Pool) -> None:
    began = time.time()
    renewals = Renewals("secret", 1.0, clock=lambda: began)
    service = ToyService()
    worker, master = serve(ToyWorker()), serve(service, admit=renewals.admit)
    began += 100
    client = pool(worker, master=master, pool_id="toy", **shown("secret", "toy", "app", -100))
    with pytest.raises(JvmError) as caught:
        client.score(1)
    assert caught.value.condition == "CREDENTIAL_EXPIRED"
    renewals.attend("app")
    assert client.score(1) == [2]


def test_many_threads_whose_time_is_over_at_once_go_on(serve: Serve, pool: Pool, jvm: Jvm) -> None:
    service = ToyService()
    worker = serve(ToyWorker(), max_queued=1000)
    master = serve(service, admit=Renewals("secret", 60.0, owner="app").admit)
    service.directory = listing(1, [worker.endpoint])
    client = pool(worker, master=master, pool_id="toy", **shown("secret", "toy", "app", -100))
    tickets = [client.submitted(value) for value in range(32)]
    collected = [client.collect(ticket.result(60)) for ticket in tickets]
    assert [answer.values for answer in collected] == [[2 * value] for value in range(32)]
    assert service.asked == [], "to be let in, nobody has to ask for a version"


def test_a_key_that_is_none_is_named(serve: Serve, pool: Pool) -> None:
    with pytest.raises(JvmError, match="its key is damaged") as caught:
        pool(serve(), pool_id="toy", claims="{}", key="%%%")
    assert "%%%" not in str(caught.value)
