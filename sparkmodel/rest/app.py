# SPDX-License-Identifier: Apache-2.0
"""The application: all routes, over one gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import orjson
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from sparkmodel.errors import AccessRefusedError
from sparkmodel.rest import admin, arrow, metrics, mlflow, oip, openapi, problems, tensorflow, tracing
from sparkmodel.rest.console import routes as console
from sparkmodel.rest.flow import context_of, failed
from sparkmodel.rest.gateway import Gateway
from sparkmodel.version import __version__


def make_app(gateway: Gateway) -> FastAPI:
    """The ASGI application of a gateway, for uvicorn and for Ray Serve."""
    spans = tracing.join(gateway)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        gateway.close()
        if spans is not None:
            await asyncio.to_thread(spans.close)

    async def unrouted(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        context = context_of(request, "oip" if request.url.path.startswith("/v2") else "", "")
        body = orjson.dumps(problems.unrouted(context.protocol, str(error.detail)))
        headers = {**(error.headers or {}), "X-Request-Id": context.request_id}
        return Response(body, error.status_code, headers, "application/json")

    app = FastAPI(
        title="sparkmodel",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers={HTTPException: unrouted},
    )
    app.add_middleware(Doors, gateway=gateway)
    for make_routes in PROTOCOLS:
        app.router.routes.extend(make_routes(gateway))
    if gateway.settings.docs:
        app.router.routes.extend(openapi.routes(gateway))
    return app


class Doors:
    """Nothing is answered, whatever its path, that does not mean this gateway."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app, self._gateway = app, gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http":
            try:
                self._gateway.access.check_host(Headers(scope=scope).get("host", ""))
            except AccessRefusedError as error:
                context = context_of(Request(scope), "", "")
                response = failed(context, error)
                response.headers["X-Request-Id"] = context.request_id
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


# each protocol's routes
PROTOCOLS: tuple[Callable[[Gateway], Sequence[BaseRoute]], ...] = (
    mlflow.routes,
    oip.routes,
    tensorflow.routes,
    arrow.routes,
    metrics.routes,
    admin.routes,
    console.routes,
)
