# SPDX-License-Identifier: Apache-2.0
"""A gateway whose pools have masters in this process, and who may change them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sparkmodel.registration import serve
from sparkmodel.registration.plan import plan
from sparkmodel.rest import models, tokens
from sparkmodel.rest.admin import actions, looks, work
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from tests.unit.rest.admin.toys import MasterPools

Admin = Callable[..., httpx.Client]


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Iterator[MasterPools]:
    """`pools.add("name", source, **options)` serves a model."""
    toys = MasterPools()
    for module in (models, actions, looks, work, serve):
        monkeypatch.setattr(module, "pools", toys)
    monkeypatch.setattr(actions, "plan_apart", plan)  # a process of its own is for tests of that
    yield toys
    toys.close()


@pytest.fixture
def admin(pools: MasterPools) -> Iterator[Admin]:
    """`admin(**settings)` serves; returns a client that may do everything, with `only` to some models."""
    made: list[tuple[Server, httpx.Client]] = []

    def serve_(only: frozenset[str] | None = None, **settings: Any) -> httpx.Client:
        token, text = tokens.made("tester", "admin")
        settled = Settings(port=0, **settings)
        server = Server(make_app(Gateway(settled, (dataclasses.replace(token, models=only),))), settled)
        server.start()
        client = httpx.Client(base_url=server.url, timeout=60, headers={"Authorization": f"Bearer {text}"})
        made.append((server, client))
        return client

    yield serve_
    for server, client in made:
        client.close()
        server.close()
