# SPDX-License-Identifier: Apache-2.0
"""What would only wait in a worker waits in the gateway, in its order, and not beyond its deadline."""

from __future__ import annotations

import asyncio
import pathlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sparkmodel.rest import admission
from sparkmodel.rest.gates import Gate
from tests.unit.rest.doors import Doors, Waiting, until
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]


def test_one_after_the_other_in_the_order_in_which_they_came() -> None:
    async def run() -> list[int]:
        gate, seen = Gate(), list[int]()

        async def go(number: int) -> None:
            assert (await gate.enter(10.0) > 0) == (number > 0)
            with gate:
                seen.append(number)
                await asyncio.sleep(0.001)
                assert gate._beyond == 1

        await asyncio.gather(*(go(number) for number in range(20)))
        assert (gate._beyond, len(gate._waiting)) == (0, 0)
        return seen

    assert asyncio.run(run()) == list(range(20))


def test_who_gives_up_takes_nobodys_turn() -> None:
    async def run() -> None:
        gate = Gate()
        await gate.enter(1.0)
        with pytest.raises(TimeoutError):
            await gate.enter(0.01)
        with pytest.raises(TimeoutError):
            await gate.enter(-1.0)
        leaving, staying = asyncio.ensure_future(gate.enter(10.0)), asyncio.ensure_future(gate.enter(10.0))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0.01)
        assert len(gate._waiting) == 1
        gate.leave()
        await staying
        last = asyncio.ensure_future(gate.enter(10.0))
        await asyncio.sleep(0)
        gate.leave()
        last.cancel()  # as it is its turn
        await asyncio.gather(last, return_exceptions=True)
        assert last.cancelled() or last.result() > 0
        if not last.cancelled():
            gate.leave()
        assert (gate._beyond, len(gate._waiting)) == (0, 0)

    asyncio.run(run())


def test_with_more_workers_more_go_through() -> None:
    async def run() -> None:
        gate = Gate()
        await gate.enter(1.0)
        waiting = [asyncio.ensure_future(gate.enter(10.0)) for _ in range(3)]
        await asyncio.sleep(0)
        gate.most = 4
        newest = asyncio.ensure_future(gate.enter(10.0))
        await asyncio.sleep(0.01)
        assert [one.done() for one in (*waiting, newest)] == [True, True, True, False]
        gate.leave()
        await newest

    asyncio.run(run())


def test_requests_wait_in_the_gateway_until_a_worker_can_have_them(
    gateway: Serve, pools: ToyPools, doors: Doors, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(admission, "_AHEAD", 0)
    model = Waiting(tmp_path)
    pool = pools.add("wine", model)
    client = gateway()

    def call(milliseconds: int) -> int:
        headers = {"X-Sparkmodel-Timeout-Ms": str(milliseconds)}
        return client.post("/toy/wine", json={"x": [1.0]}, headers=headers).status_code

    with ThreadPoolExecutor(3) as threads:
        try:
            first = threads.submit(call, 30_000)
            until(lambda: model.begun() == 1)
            second = threads.submit(call, 30_000)
            until(lambda: doors.gateway is not None and doors.gateway.admission._scoring["wine"] == 2)
            assert call(50) == 504
            stats = pool.workers[0][0].stats()
            assert stats.queued == 1, "the one that is in the model, and none that waits"
            time.sleep(0.05)
        finally:
            model.go_on()
        assert (first.result(), second.result()) == (200, 200)
    waits = [context.scored.wait_s for context in doors.told if context.scored is not None]
    assert waits[0] == 0 < 0.05 < waits[1]
    assert doors.told[0].condition == "DEADLINE_EXCEEDED"
