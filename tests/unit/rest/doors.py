# SPDX-License-Identifier: Apache-2.0
"""A protocol as small as can be, for tests of what is the same for all."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pyarrow as pa
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import ModelNotFoundError
from sparkmodel.rest import app
from sparkmodel.rest.asked import Asked, Context
from sparkmodel.rest.bodies import read_body
from sparkmodel.rest.flow import route
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.tokens import parse

SECRETS = {name: f"{name}-0123456789abcdef" for name in ("predict", "metrics", "admin", "wine")}
TOKENS = parse(
    [
        f"caller predict {SECRETS['predict']}",
        f"prometheus metrics {SECRETS['metrics']}",
        f"operator admin {SECRETS['admin']}",
        f"cellar predict {SECRETS['wine']} models=wine",
    ],
    "Cannot read",
)


class Waiting:
    """A model that answers once it is let go on; it is pickled, so files say so."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = str(folder)

    def __call__(self, x: dict[str, Any]) -> Any:
        pathlib.Path(self.folder, f"begun-{uuid.uuid4().hex}").touch()
        until(pathlib.Path(self.folder, "go").exists)
        return x["x"] * 2

    def begun(self) -> int:
        return len(list(pathlib.Path(self.folder).glob("begun-*")))

    def go_on(self) -> None:
        pathlib.Path(self.folder, "go").touch()


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


class Doors:
    """Its routes, and what came of the requests."""

    def __init__(self) -> None:
        self.told: list[Context] = []
        self.cancelled = asyncio.Event()
        self.gateway: Gateway | None = None

    def routes(self, gateway: Gateway) -> list[Route]:
        self.gateway = gateway
        gateway.tellers.append(self.told.append)

        async def call(request: Request, context: Context) -> Response:
            body = await read_body(request, gateway.settings)
            served = await gateway.find(context, request.path_params["name"])
            scored = await gateway.score(context, served, Asked(table=pa.table(orjson.loads(body))))
            return Response(orjson.dumps(scored.values.to_pylist()))

        async def echo(request: Request, context: Context) -> Response:
            body = await read_body(request, gateway.settings)
            return Response(orjson.dumps({"size": len(body), "deadline": context.deadline is not None}))

        async def slow(request: Request, context: Context) -> Response:
            await read_body(request, gateway.settings)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return Response(b"")

        async def broken(request: Request, context: Context) -> Response:
            raise ValueError("CANARY")

        async def hello(request: Request, context: Context) -> Response:
            return Response(b"{}")

        async def lost(request: Request, context: Context) -> Response:
            raise ModelNotFoundError("Cannot find", "it is not here")

        return [
            route(gateway, "mlflow", "/toy/{name}", call),
            route(gateway, "", "/echo", echo),
            route(gateway, "", "/slow", slow),
            route(gateway, "", "/broken", broken),
            route(gateway, "oip", "/lost", lost),
            route(gateway, "", "/door/predict", hello, ("GET", "POST")),
            route(gateway, "", "/door/metrics", hello, ("GET",), scope="metrics"),
            route(gateway, "", "/door/admin", hello, ("GET", "POST"), scope="admin"),
            route(gateway, "", "/door/open", hello, ("GET",), scope=None),
        ]


@contextlib.contextmanager
def raw(url: str) -> Iterator[socket.socket]:
    """A socket to a server, for what no client would send."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        yield sock


def answer_of(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def heard(sock: socket.socket, text: bytes) -> bytes:
    """All that comes until a text does, or the end."""
    answer = b""
    while text not in answer and (part := sock.recv(65536)):
        answer += part
    return answer


def bearer(name: str) -> dict[str, Any]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {SECRETS.get(name, name)}"}


def install(monkeypatch: pytest.MonkeyPatch) -> Doors:
    """Serve the protocol, beside the real ones."""
    doors = Doors()
    monkeypatch.setattr(app, "PROTOCOLS", (*app.PROTOCOLS, doors.routes))
    return doors
