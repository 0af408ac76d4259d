# SPDX-License-Identifier: Apache-2.0
"""The bridge's client of a pool against real servers that all do well."""

from __future__ import annotations

from collections.abc import Callable

from sparkmodel.wire.server import Server
from tests.unit.bridge.conftest import Client
from tests.unit.wire.toys import ToyService

Serve = Callable[..., Server]
Pool = Callable[..., Client]


def test_a_batch_is_scored(serve: Serve, pool: Pool, service: ToyService) -> None:
    client = pool(serve())
    assert client.score(1, 2.5, -3) == [2, 5, -6]
