# SPDX-License-Identifier: Apache-2.0
"""The bridge believes what workers tell of their speed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from sparkmodel.wire.server import Server
from tests.unit.bridge.conftest import Client
from tests.unit.wire.uneven import CLIENTS, OLD_S, after, busy_before, seen_of, undisturbed, uneven

Serve = Callable[..., Server]
Pool = Callable[..., Client]


def score(client: Client, batches: int) -> None:
    assert [client.score(1) for _ in range(batches)] == [[2]] * batches


def test_new_clients_give_a_slow_worker_nothing(serve: Serve, pool: Pool) -> None:
    slow, fast = uneven(serve)
    for number in range(1, CLIENTS + 1):
        undisturbed(slow, lambda: score(pool(slow, fast), 1))
        assert seen_of(slow) == []
        assert len(seen_of(fast)) >= number


def test_it_asks_whether_another_client_has_found_out_before_it_tries_again(serve: Serve, pool: Pool) -> None:
    slow, fast = uneven(serve)
    clients = [pool(slow, fast) for _ in range(CLIENTS)]
    for client in clients:
        assert client.score(1) == [2]
    time.sleep(OLD_S + 0.2)  # what they know is old then
    for client in clients:
        undisturbed(slow, functools.partial(score, client, 3))
        assert seen_of(slow) == []


def test_one_that_was_slow_and_is_not_any_more_is_used_again(serve: Serve, pool: Pool) -> None:
    slow, fast = uneven(serve)
    client = pool(slow, fast)
    assert client.score(1) == [2]
    slow.service.predict = after(0)  # type: ignore[attr-defined]
    time.sleep(OLD_S + 0.2)
    assert [client.score(1) for _ in range(10)] == [[2]] * 10
    assert len(seen_of(slow)) >= 5


def test_one_that_was_busy_when_it_was_asked_is_looked_at_again(serve: Serve, pool: Pool) -> None:
    busy_before(serve, lambda slow, fast: pool(slow, fast).score)
