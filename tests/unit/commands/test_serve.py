# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel serve`: what it starts, with which settings."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from sparkmodel.rest import serve
from tests.unit.commands.conftest import Run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What the command would have started."""
    seen: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(serve, "serve", lambda *words, **named: seen.append((words, named)))

    def on_ray(settings: Any, **named: Any) -> Any:
        seen.append((settings, named))
        return SimpleNamespace(run=lambda: None)

    monkeypatch.setitem(sys.modules, "sparkmodel.rest.on_ray", SimpleNamespace(serve_on_ray=on_ray))
    monkeypatch.delenv("SPARKMODEL_TOKENS", raising=False)
    return seen


def test_its_options_are_settings(run: Run, started: list[Any]) -> None:
    assert run("serve", "--port", "7", "--docs", "--no-console", "--allow-source", "python:")[0] == 0
    ((words, named),) = started
    assert (words, named["block"], named["docs"], named["console"]) == (("127.0.0.1", 7), True, True, False)
    assert named["allow_sources"] == ("python:",)


def test_on_ray_has_the_same_doors(run: Run, started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("serve", "--on-ray", "--address", "head:6379", "--port", "7")[0] == 0
    ((settings, named),) = started
    assert (settings.port, named["address"], named["tokens"]) == (7, "head:6379", ())
    code, _, err = run("serve", "--on-ray", "--host", "0.0.0.0")
    assert (code, "no token is set" in err, len(started)) == (1, True, 1)
    monkeypatch.setenv("SPARKMODEL_TOKEN", "a-token-for-everything")
    assert run("serve", "--on-ray", "--host", "0.0.0.0", "--insecure")[0] == 0
    assert [token.scopes for token in started[1][1]["tokens"]] != []
    assert run("serve", "--on-ray", "--model", "m=models:/m/1")[0] == 2
