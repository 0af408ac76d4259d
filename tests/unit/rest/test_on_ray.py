# SPDX-License-Identifier: Apache-2.0
"""What a replica of Ray Serve does before it serves; Ray Serve itself is in the integration tests."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from ray.serve._private.http_util import RequestIdMiddleware

from sparkmodel.errors import InvalidOptionError
from sparkmodel.keeper import connection as keeper
from sparkmodel.rest import on_ray

LINE = "me predict,admin a-token-for-everything"


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FastAPI]:
    """`replica(args, host=...)` is the application that a replica makes, where Ray Serve binds that host."""
    serve = SimpleNamespace(
        ingress=lambda build: lambda: build, deployment=lambda build, **_: SimpleNamespace(bind=lambda: build)
    )
    joined: list[str] = []
    monkeypatch.setattr(on_ray, "_serve", lambda: serve)
    monkeypatch.setattr(keeper, "ensure", lambda address, namespace: joined.append(namespace))
    monkeypatch.delenv("SPARKMODEL_TOKENS", raising=False)

    def make(args: dict[str, Any], host: str = "127.0.0.1", cert: str | None = None) -> FastAPI:
        opened = {"host": host, "port": 5001, "tls_cert": cert, "tls_key": cert}
        monkeypatch.setattr(on_ray, "_opened", lambda: opened)
        build: Any = on_ray.application(args)
        made: FastAPI = build()
        assert joined == [args.get("namespace", "sparkmodel")]
        return made

    return make


def paths(app: FastAPI) -> set[str]:
    return {route.path for route in app.routes}  # type: ignore[attr-defined]


def test_its_arguments_are_settings(replica: Callable[..., FastAPI]) -> None:
    app = replica({"docs": True, "namespace": "others", "allow_sources": ["/models"]})
    assert "/openapi.json" in paths(app)


@pytest.mark.parametrize(
    ("args", "fact"),
    [({"dosc": True}, "there is no such setting"), ({"host": "0.0.0.0"}, "is said in Serve's http_options")],
)
def test_an_argument_that_is_no_setting_of_its_own_is_refused(
    args: dict[str, Any], fact: str, replica: Callable[..., FastAPI]
) -> None:
    with pytest.raises(InvalidOptionError, match=fact):
        replica(args)


def test_a_replica_that_others_reach_wants_a_token_and_tls_or_a_proxy_that_has_it(
    replica: Callable[..., FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidOptionError, match="no token is set"):
        replica({"insecure": True}, "0.0.0.0")
    monkeypatch.setenv("SPARKMODEL_TOKENS", LINE)
    with pytest.raises(InvalidOptionError, match="in the clear"):
        replica({}, "0.0.0.0")
    assert replica({"insecure": True}, "0.0.0.0")


def test_tokens_may_be_in_a_file_and_the_certificate_is_ray_serves(
    replica: Callable[..., FastAPI], tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(LINE)
    file.chmod(0o644)
    with pytest.raises(InvalidOptionError, match="chmod 600"):
        replica({"tokens": str(file)}, "0.0.0.0", "cert.pem")
    file.chmod(0o600)
    assert replica({"tokens": str(file)}, "0.0.0.0", "cert.pem")


@pytest.mark.parametrize("given", [{}, {"X-Request-Id": "r7"}, {"X-Request-Id": "r" * 200}])
def test_the_proxys_request_id_is_the_only_one(given: dict[str, str], replica: Callable[..., FastAPI]) -> None:
    app = RequestIdMiddleware(replica({}))

    async def ask(path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=given)

    for path, status in (("/v2/health/live", 200), ("/nowhere", 404)):
        answer = asyncio.run(ask(path))
        assert (answer.status_code, len(answer.headers.get_list("x-request-id"))) == (status, 1)
        assert answer.headers["x-request-id"] == given.get("X-Request-Id", answer.headers["x-request-id"])
