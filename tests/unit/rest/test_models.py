# SPDX-License-Identifier: Apache-2.0
"""Which models there are, while they come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from sparkmodel.errors import PoolGoneError
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
