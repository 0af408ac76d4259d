# SPDX-License-Identifier: Apache-2.0
"""A control service in this process."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from sparkmodel.control import serve
from tests.control import TOKEN, call
from tests.integration.commands.making import Call


@pytest.fixture
def control(ray_runtime: None) -> Iterator[Call]:
    """Calls of a service in this process; the models that are there at the end are dropped."""
    server = serve(TOKEN)
    yield functools.partial(call, server.port)
    for model in call(server.port, "list")["models"]:
        call(server.port, "drop", name=model["name"])
    server.close()
