# SPDX-License-Identifier: Apache-2.0
"""The application: all routes, over one gateway."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI
from starlette.routing import Route

from sparkmodel.rest import admin, metrics, mlflow, tracing
from sparkmodel.rest.console import routes as console
from sparkmodel.rest.gateway import Gateway
from sparkmodel.version import __version__


def make_app(gateway: Gateway) -> FastAPI:
    """The ASGI application of a gateway, for uvicorn and for Ray Serve."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        gateway.close()

    app = FastAPI(
        title="sparkmodel", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    tracing.join(gateway)
    for make_routes in PROTOCOLS:
        app.router.routes.extend(make_routes(gateway))
    return app


# each protocol's `routes(gateway) -> list[Route]`
PROTOCOLS: tuple[Callable[[Gateway], list[Route]], ...] = (
    mlflow.routes,
    metrics.routes,
    admin.routes,
    console.routes,
)
