# SPDX-License-Identifier: Apache-2.0
"""Gateways over real workers of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from sparkmodel.rest import metrics, models
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from sparkmodel.rest.tokens import Token
from tests.unit.rest.doors import Doors, install
from tests.unit.rest.toys import ToyPools


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyPools]:
    """`pools.add("name", source, signature=..., result_type=...)` serves a model."""
    toys = ToyPools()
    monkeypatch.setattr(models, "pools", toys)
    monkeypatch.setattr(metrics, "pools", toys)
    yield toys
    toys.close()


@pytest.fixture
def gateway(pools: ToyPools) -> Iterator[Callable[..., httpx.Client]]:
    """`gateway(tokens=(), **settings)` serves on a port of loopback; returns a client of it."""
    made: list[tuple[Server, httpx.Client]] = []

    def serve(tokens: Iterable[Token] = (), **settings: Any) -> httpx.Client:
        set_ = Settings(port=0, **settings)
        server = Server(make_app(Gateway(set_, tokens)), set_)
        server.start()
        made.append((server, httpx.Client(base_url=server.url, timeout=60)))
        return made[-1][1]

    yield serve
    for server, client in made:
        client.close()
        server.close()


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Doors:
    """The protocol of `doors.py`, in each gateway of the test."""
    return install(monkeypatch)
