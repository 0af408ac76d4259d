# SPDX-License-Identifier: Apache-2.0
"""One JVM, one client of a pool, several handles of it: each call has the limits of its own handle."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError  # the builtin one since Python 3.11

import pytest

from sparkmodel.wire.handle import Handle
from sparkmodel.wire.server import Server
from tests.bridge import Jvm, JvmError
from tests.unit.bridge.conftest import Client, text_of
from tests.unit.wire.liar import Liar, dead_endpoint, hang_up, say_nothing
from tests.unit.wire.toys import ToyService, handle_of, listing

Serve = Callable[..., Server]
_numbers = itertools.count()


@pytest.fixture
def pool_id() -> str:
    return f"limits-{next(_numbers)}"


def client_of(jvm: Jvm, handle: Handle) -> Client:
    """The JVM's client of the pool, called through this handle."""
    return Client(jvm, jvm.call("of", handle=text_of(handle)), text_of(handle))


def refused(client: Client) -> JvmError:
    with pytest.raises(JvmError) as caught:
        client.score(1)
    return caught.value


def test_retries_are_those_of_the_calls_handle(jvm: Jvm, pool_id: str) -> None:
    with contextlib.closing(Liar(hang_up)) as liar:
        strict, patient = (client_of(jvm, handle_of(liar, pool_id=pool_id, max_retries=n)) for n in (0, 3))
        assert strict.number == patient.number
        for client, lost in ((strict, 1), (patient, 4), (strict, 1)):
            error = refused(client)
            assert (error.condition, error.parts["fact"].split(" that")[0]) == (
                "WORKER_LOST",
                f"1 row of batch 1 were on {lost} worker{'s' * (lost > 1)}",
            )


def test_the_longest_silence_is_that_of_the_calls_handle(jvm: Jvm, pool_id: str) -> None:
    with contextlib.closing(Liar(say_nothing)) as liar:
        short, long = (handle_of(liar, pool_id=pool_id, timeout_s=timeout_s, max_retries=0) for timeout_s in (0.1, 0.6))
        number = jvm.call("client", handle=text_of(short), silence_s=0.1)
        for handle, silent in ((short, "0.2 s"), (long, "0.7 s")):
            error = refused(Client(jvm, number, text_of(handle)))
            assert error.condition == "WORKER_LOST"
            assert error.parts["fact"].endswith(f"was silent for {silent})")


def test_the_wait_for_a_pool_that_heals_is_that_of_the_calls_handle(jvm: Jvm, serve: Serve, pool_id: str) -> None:
    live = serve()
    master = ToyService()
    master.directory = listing(2, (), "healing", 1)
    server = serve(master)

    def healing(ready_timeout_s: float) -> Client:
        handle = handle_of(master=server, directory=master.directory, pool_id=pool_id, ready_timeout_s=ready_timeout_s)
        return client_of(jvm, handle)

    assert "no worker came back" in str(refused(healing(0.2)))
    waiting = healing(60.0).submitted(3)
    with pytest.raises(FutureTimeoutError):
        waiting.result(1)
    master.directory = listing(3, (live.endpoint,), "ready", 1)
    assert healing(60.0).collect(waiting.result(60)).values == [6]


def test_a_newer_handle_of_a_pool_tells_its_client_where_the_pool_is_now(jvm: Jvm, serve: Serve, pool_id: str) -> None:
    old = serve(ToyService())
    assert client_of(jvm, handle_of(old, pool_id=pool_id)).score(1) == [2]
    old.close()
    toy = ToyService()
    moved = serve(toy)
    toy.directory = listing(6, (moved.endpoint,), "ready", 1)
    newer = handle_of(pool_id=pool_id, master=moved, directory=listing(5, (dead_endpoint(),), "ready", 1))
    assert client_of(jvm, newer).score(2) == [4], "its master is asked, not that of the handle that came first"


def test_a_handle_with_another_token_has_no_share_in_anothers_connections(jvm: Jvm, serve: Serve, pool_id: str) -> None:
    server = serve()
    right, wrong = (client_of(jvm, handle_of(server, pool_id=pool_id, token=t)) for t in ("secret", "guessed"))
    assert right.score(1) == [2]
    error = refused(wrong)
    assert error.condition == "POOL_GONE"
    assert "another pool has its address" in str(error)
