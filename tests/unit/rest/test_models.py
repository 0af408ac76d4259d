# SPDX-License-Identifier: Apache-2.0
"""Which models a gateway knows: what it saw before a change is not what it serves after it."""

from __future__ import annotations

import asyncio
import dataclasses
import threading

import pyarrow as pa
import pytest

from sparkmodel.rest import models
from sparkmodel.rest.asked import Served
from tests.models import DoubleModel
from tests.unit.rest.toys import ToyPools


def test_a_look_from_before_a_change_is_not_taken_after_it(pools: ToyPools, monkeypatch: pytest.MonkeyPatch) -> None:
    pools.add("m", DoubleModel(), result_type=pa.float64())
    old = models.served_of(pools.find("m"))  # type: ignore[arg-type]
    new = dataclasses.replace(old, version=2, versions=(2,))
    answers = [old, new]
    may_end = threading.Event()

    def look(_: models.Models, name: str) -> Served:
        served = answers.pop(0)
        if served is old:
            may_end.wait(10)
        return served

    monkeypatch.setattr(models.Models, "_read", look)

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
