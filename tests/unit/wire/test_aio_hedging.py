# SPDX-License-Identifier: Apache-2.0
"""Calls that go to a second worker where the first takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sparkmodel.errors import PredictError
from sparkmodel.wire.aio import AioClient
from sparkmodel.wire.aio_hedging import Hedging
from sparkmodel.wire.server import Server
from tests.unit.wire.loops import ask, becomes, wire
from tests.unit.wire.test_client import in_flight
from tests.unit.wire.toys import HandleClient, ToyService

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]


async def learn(aio: AioClient, client: HandleClient, calls: int = 60) -> None:
    """So many quick calls that it is known what is long."""
    await asyncio.gather(*(ask(aio, client, i) for i in range(8)))  # connections to both
    for i in range(calls):
        assert (await ask(aio, client, i, hedge=True)).values.to_pylist() == [2 * i]


def test_a_stalled_worker_costs_no_caller_anything(serve: Serve, pool: Pool) -> None:
    toys = [ToyService(), ToyService()]
    servers = [serve(toy) for toy in toys]
    client = pool(*servers)

    async def main() -> None:
        async with wire() as aio:
            await learn(aio, client)
            for toy in toys:
                toy.seen.clear()
                toy.hold()
            stalled = asyncio.ensure_future(ask(aio, client, 5))
            await becomes(lambda: any(toy.seen for toy in toys), "one worker is busy for long")
            busy = next(i for i in range(2) if toys[i].seen)
            toys[1 - busy].release()
            for value in range(30, 33):
                answered = await ask(aio, client, value, hedge=True)
                assert answered.values.to_pylist() == [2 * value]
                assert (answered.call.version, answered.call.lost) == (1, 0)
            await becomes(lambda: servers[busy].gate.load == 1, "what nobody waits for is dropped")
            toys[busy].release()
            assert (await stalled).values.to_pylist() == [10]
            assert toys[busy].seen == [5]

    asyncio.run(main())
    assert (client.retries, in_flight(client)) == (0, 0)


def test_a_batch_in_a_stalled_model_is_answered_by_the_second_worker(serve: Serve, pool: Pool) -> None:
    toys = [ToyService(), ToyService()]
    client = pool(*(serve(toy) for toy in toys))

    async def main() -> None:
        async with wire() as aio:
            await learn(aio, client)
            for toy in toys:
                toy.seen.clear()
                toy.hold()
            task = asyncio.ensure_future(ask(aio, client, 7, hedge=True))
            await becomes(lambda: all(toy.seen for toy in toys), "both have it")
            second = toys[0]
            second.release()
            answered = await task
            assert (answered.values.to_pylist(), answered.hedged) == ([14], True)
            toys[1].release()
            await becomes(lambda: in_flight(client) == 0, "the other one has given back what it had")
            assert (await ask(aio, client, 8)).values.to_pylist() == [16]

    asyncio.run(main())
    assert client.retries == 0


def test_no_more_than_one_call_in_twenty_is_hedged(serve: Serve, pool: Pool) -> None:
    toys = [ToyService(), ToyService()]
    client = pool(*(serve(toy) for toy in toys))

    async def main() -> int:
        async with wire() as aio:
            await learn(aio, client, 40)
            hedging = aio._hedging_of(client.handle.pool.pool_id)
            hedging._after_s = 1e-9  # all are slow
            hedging.note = lambda seconds: setattr(hedging, "_calls", hedging._calls + 1)  # type: ignore[method-assign]
            return sum([(await ask(aio, client, i, hedge=True)).hedged for i in range(160)])

    assert 1 <= asyncio.run(main()) <= 10


def test_an_error_is_the_callers_if_no_worker_does_better(serve: Serve, pool: Pool) -> None:
    toys = [ToyService(), ToyService()]
    client = pool(*(serve(toy) for toy in toys))

    async def main() -> None:
        async with wire() as aio:
            await learn(aio, client)
            for toy in toys:
                toy.predict = refuse
                toy.seen.clear()
                toy.hold()
            task = asyncio.ensure_future(ask(aio, client, 7, hedge=True))
            await becomes(lambda: all(toy.seen for toy in toys), "both have it")
            for toy in toys:
                toy.release()
            with pytest.raises(PredictError, match="no"):
                await task

    def refuse(batch: object) -> object:
        raise PredictError("Cannot score with 'toy'", "no")

    asyncio.run(main())
    assert in_flight(client) == 0


def test_what_is_long_is_known_after_twenty_calls_and_follows_the_newest() -> None:
    hedging = Hedging()
    for _ in range(19):
        hedging.note(0.01)
    assert hedging.after_s() is None
    hedging.note(0.01)
    assert hedging.after_s() == 0.01
    for _ in range(200):
        hedging.note(0.5)
    assert hedging.after_s() == 0.5
    assert [hedging.take() for _ in range(20)] == [True] * 11 + [False] * 9
