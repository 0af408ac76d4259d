# SPDX-License-Identifier: Apache-2.0
"""Calls of the gateway's models: long ones by one version, rows at fault, versions."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import VersionRetiredError
from sparkmodel.rest.asked import Asked, Scored
from sparkmodel.rest.calls import Caller
from sparkmodel.rest.models import served_of
from sparkmodel.wire.client import client_of
from sparkmodel.wire.server import Server
from tests.unit.pool.toys import TOKEN
from tests.unit.rest.toys import ToyPools
from tests.unit.wire.toys import ToyService


def doubled(x: Any) -> Any:
    return x["x"] * 2


def frail(x: Any) -> Any:
    if (x["x"] == 13).any():
        raise ValueError("not 13")
    return x["x"] * 2


def scored(pools: ToyPools, name: str, table: pa.Table, **asked: Any) -> Scored:
    """What a request comes to; nothing is under way afterwards."""
    served = served_of(pools.find(name))  # type: ignore[arg-type]

    async def main() -> Scored:
        return await Caller().score(served, Asked(table=table, **asked), timeout_s=60)

    try:
        return asyncio.run(main())
    finally:
        assert client_of(served.handle).is_quiet()


@pytest.mark.parametrize("rows", [0, 1, 10_000, 10_001, 35_000])
def test_each_row_of_a_request_is_answered_in_its_place(
    pools: ToyPools, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    pool, master = pools.add("toy", doubled, result_type=pa.float64(), workers=2), ToyService(token=TOKEN)
    master.directory, handle = pool.directory, pool.handle()
    known = dataclasses.replace(handle.pool, master=serve(master).endpoint)
    monkeypatch.setattr(pool, "handle", lambda: dataclasses.replace(handle, pool=known))
    table = pa.table({"x": pa.array(range(rows), pa.float64())})
    answer = scored(pools, "toy", table)
    assert answer.values.to_pylist() == [2.0 * i for i in range(rows)]
    assert (answer.version, answer.retries, answer.hedged) == (1, 0, False)
    assert len(master.asked) == (rows > 10_000), "one version for all of its messages"


@pytest.mark.parametrize("rows", [3, 12_000])
def test_a_version_that_is_gone_is_told_of(pools: ToyPools, rows: int) -> None:
    pools.add("toy", doubled, result_type=pa.float64())
    table = pa.table({"x": pa.array(range(rows), pa.float64())})
    assert scored(pools, "toy", table, version=1).version == 1
    with pytest.raises(VersionRetiredError, match="version 9 was asked for"):
        scored(pools, "toy", table, version=9)


@pytest.mark.parametrize("on_error", ["null", "struct"])
def test_rows_at_fault_are_told_of_in_their_place(pools: ToyPools, on_error: str) -> None:
    pools.add("toy", frail, result_type=pa.float64(), on_error=on_error)
    answer: Callable[[list[float]], list[Any]] = lambda xs: scored(  # noqa: E731
        pools, "toy", pa.table({"x": pa.array(xs, pa.float64())})
    ).values.to_pylist()
    for _ in range(3):
        first, at_fault, last = answer([1.0, 13.0, 3.0])
        if on_error == "null":
            assert (first, at_fault, last) == (2.0, None, 6.0)
        else:
            assert [one["prediction"] for one in (first, at_fault, last)] == [2.0, None, 6.0]
            assert "not 13" in at_fault["error"]
