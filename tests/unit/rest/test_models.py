# SPDX-License-Identifier: Apache-2.0
"""Which models there are, while they come and go."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pyarrow as pa
import pytest

from sparkmodel.errors import PoolGoneError, RayUnavailableError
from sparkmodel.rest import models
from sparkmodel.rest.asked import Served
from tests.models import DoubleModel
from tests.unit.rest.doors import until
from tests.unit.rest.toys import ToyPool, ToyPools

Serve = Callable[..., httpx.Client]
BODY = {"dataframe_split": {"columns": ["x"], "data": [[2.0]]}}


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch, pools: ToyPools) -> Callable[[Any], None]:
    """`dropped(other)`: the pool that is found next ends before it says what it serves; `other` may have its name."""

    def drop(other: Any) -> None:
        spec = ToyPool.spec

        def gone(pool: ToyPool) -> Any:
            monkeypatch.setattr(ToyPool, "spec", spec)
            pools.by_name.pop(pool.name).close()
            if other is not None:
                pools.add(pool.name, other)
            raise PoolGoneError("Cannot reach the pool", "it has ended")

        monkeypatch.setattr(ToyPool, "spec", gone)

    return drop


def test_a_pool_that_is_dropped_this_moment_is_not_there(
    dropped: Callable[[Any], None], pools: ToyPools, gateway: Serve
) -> None:
    for name in ("wine", "wine2"):
        pools.add(name, lambda data: data["x"] * 2)
    client = gateway()
    dropped(None)
    answer = client.post("/models/wine/invocations", json=BODY)
    assert answer.status_code == 404
    assert "Cannot find model 'wine': no model of that name is served. Hint: did you mean 'wine2'?" in answer.text


def test_another_that_has_its_name_already_answers(
    dropped: Callable[[Any], None], pools: ToyPools, gateway: Serve
) -> None:
    pools.add("wine", lambda data: data["x"] * 2)
    client = gateway()
    dropped(lambda data: data["x"] * 3)
    assert client.post("/models/wine/invocations", json=BODY).json() == {"predictions": [6.0]}


class Slow:
    """Answers which models there are once it is let go on, and counts how often it is asked."""

    def __init__(self, pools: ToyPools) -> None:
        self.asked, self.go_on = 0, threading.Event()
        self.error: Exception | None = None
        self._pools = pools

    def names(self) -> list[str]:
        self.asked += 1
        assert self.go_on.wait(60)
        if self.error is not None:
            raise self.error
        return self._pools.names()

    def find(self, name: str) -> ToyPool:
        self.names()
        return self._pools.find(name)


@pytest.fixture
def slow(pools: ToyPools, monkeypatch: pytest.MonkeyPatch) -> Slow:
    keeper = Slow(pools)
    monkeypatch.setattr(models, "pools", keeper)
    return keeper


def test_many_probes_are_one_question_a_second(slow: Slow, gateway: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = gateway()

    def probe(_: int = 0) -> int:
        return client.get("/v2/health/ready").status_code

    with ThreadPoolExecutor(20) as threads:
        probes = threads.map(probe, range(20))
        until(lambda: slow.asked == 1)
        assert client.get("/v2/health/live").status_code == 200
        slow.go_on.set()
        assert list(probes) == [200] * 20
    assert (probe(), slow.asked) == (200, 1), "it is known for a second"
    monkeypatch.setattr(models, "_FRESH_S", 0.0)
    slow.error = RayUnavailableError("Cannot reach Ray", "it is away")
    assert (probe(), slow.asked) == (503, 2)
    monkeypatch.setattr(models, "_FRESH_S", 60.0)
    assert (probe(), slow.asked) == (503, 2), "nor is it asked more often while it is away"
    monkeypatch.setattr(models, "_FRESH_S", 0.0)
    slow.error = None
    assert probe() == 200


def test_one_that_leaves_does_not_end_the_look_of_the_others(slow: Slow, pools: ToyPools) -> None:
    pools.add("wine", lambda data: data["x"])

    async def look() -> None:
        known = models.Models()
        for see in (lambda: known.find("wine"), known.all, known.check):
            slow.go_on.clear()
            leaving, staying = asyncio.ensure_future(see()), asyncio.ensure_future(see())
            await asyncio.sleep(0.05)
            leaving.cancel()
            slow.go_on.set()
            await staying
            assert leaving.cancelled()
            known.forget("wine")
        known.close()

    asyncio.run(look())


def test_a_look_from_before_a_change_is_not_taken_after_it(pools: ToyPools, monkeypatch: pytest.MonkeyPatch) -> None:
    pools.add("m", DoubleModel(), result_type=pa.float64())
    old = models.served_of(pools.find("m"))  # type: ignore[arg-type]
    new = dataclasses.replace(old, version=2, versions=(2,))
    answers = [old, new]
    may_end = threading.Event()

    def look(name: str, see: Any) -> Served:
        served = answers.pop(0)
        if served is old:
            may_end.wait(10)
        return served

    monkeypatch.setattr(models, "ask", look)

    async def run() -> list[int]:
        known = models.Models()
        try:
            before = asyncio.ensure_future(known.find("m"))
            await asyncio.sleep(0)
            known.forget("m")  # the model moves to version 2
            after = await known.find("m")
            may_end.set()
            return [after.version, (await before).version, (await known.find("m")).version]
        finally:
            may_end.set()
            known.close()

    assert asyncio.run(run()) == [2, 1, 2]
