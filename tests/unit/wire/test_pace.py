# SPDX-License-Identifier: Apache-2.0
"""Workers tell how quick they are, and clients that are new believe it. Real sockets."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable

import pytest

from sparkmodel.wire import protocol as p
from sparkmodel.wire.pace import Pace, Told
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import HandleClient, RawClient, handle_of, numbers
from tests.unit.wire.uneven import CLIENTS, OLD_S, SLOW_S, after, busy_before, seen_of, undisturbed, uneven, warm

Serve = Callable[..., Server]
Raw = Callable[[Server], RawClient]


def score(client: HandleClient, batches: int = 1) -> None:
    for _ in range(batches):
        assert [answer.to_pylist() for answer in client.predict([numbers(1)], by_name=False)] == [[2]]


def test_what_is_told_is_the_least_of_the_last_three_without_the_first_of_all() -> None:
    now = 10.0
    pace = Pace(lambda: now)
    assert pace.told() is None
    pace.add(9.0)
    assert pace.told() is None, "a model may compile something for its first batch"
    for seconds in (0.3, 0.1, 0.5):
        pace.add(seconds)
    now = 12.5
    assert pace.told() == Told(0.1, 2.5)
    pace.add(0.4)
    pace.add(0.6)
    assert pace.told() == Told(0.4, 0.0)


def test_a_greeting_tells_it_and_an_older_one_tells_nothing() -> None:
    assert Told(0.4, 1.5).to_dict() == {"batch_us": 400_000, "batch_age_ms": 1500}
    assert Told.from_dict(Told(0.4, 1.5).to_dict()) == Told(0.4, 1.5)
    assert Told.from_dict({"batch_us": 400_000}) == Told(0.4, 0.0)
    assert Told.from_dict({}) is None


def test_a_server_tells_it_when_it_has_scored_something(serve: Serve, raw: Raw) -> None:
    server = serve()
    client = raw(server)
    assert "batch_us" not in client.hello()
    server.service.predict = after(SLOW_S)  # type: ignore[attr-defined]
    warm(server)
    client.request(p.HELLO, 0, b"{}")
    told = client.info()
    assert told["batch_us"] >= SLOW_S * 1e6
    assert told["batch_age_ms"] >= 0
    assert Told.from_dict(raw(server).hello()) is not None


def score_anew(*servers: Server) -> None:
    """One batch of a client that knows nothing yet."""
    client = HandleClient(handle_of(*servers))
    score(client)
    client.close()


def test_new_clients_give_a_slow_worker_nothing(serve: Serve) -> None:
    slow, fast = uneven(serve)
    for number in range(1, CLIENTS + 1):
        undisturbed(slow, lambda: score_anew(slow, fast))
        assert seen_of(slow) == []
        assert len(seen_of(fast)) >= number


def test_a_client_asks_whether_another_one_has_found_out_before_it_tries_again(serve: Serve) -> None:
    slow, fast = uneven(serve)
    clients = [HandleClient(handle_of(slow, fast)) for _ in range(CLIENTS)]
    for client in clients:
        score(client)
        grow_old(client)
    for client in clients:
        undisturbed(slow, functools.partial(score, client, batches=3))
        client.close()
        assert seen_of(slow) == []


def test_one_that_was_slow_and_is_not_any_more_is_used_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = uneven(serve)
    client = HandleClient(handle_of(slow, fast))
    score(client, batches=3)
    slow.service.predict = after(0)  # type: ignore[attr-defined]
    monkeypatch.setattr(slow.gate.pace, "_learned", time.monotonic() - OLD_S - 1)
    grow_old(client)
    score(client, batches=10)
    client.close()
    assert len(seen_of(slow)) >= 5


def grow_old(client: HandleClient) -> None:
    """What a client knows of workers is of long ago."""
    for route in client._router.routes.values():
        route.learned -= OLD_S + 1


def test_one_that_was_busy_when_it_was_asked_is_looked_at_again(serve: Serve) -> None:
    with contextlib.ExitStack() as stack:

        def client_of(*servers: Server) -> Callable[[int], object]:
            client = HandleClient(handle_of(*servers))
            stack.callback(client.close)
            return lambda _: score(client)

        busy_before(serve, client_of)
