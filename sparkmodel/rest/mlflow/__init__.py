# SPDX-License-Identifier: Apache-2.0
"""MLflow's scoring protocol: `/invocations` and what belongs to it, for one model or for each by its name."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import ModelNotFoundError
from sparkmodel.rest.arrow import answer_arrow, is_arrow
from sparkmodel.rest.asked import Context
from sparkmodel.rest.bodies import read_body
from sparkmodel.rest.events import answer_events, wants_events
from sparkmodel.rest.flow import route, version_of
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.mlflow.media import media_type
from sparkmodel.rest.mlflow.requests import chunk_of, is_long, read, reply

_PROTOCOL = "mlflow"


def routes(gateway: Gateway) -> list[Route]:
    """The protocol's routes."""

    async def invoke(request: Request, context: Context) -> Response:
        path = request.path_params
        if is_arrow(request):
            return await answer_arrow(gateway, request, context)
        version = version_of(request)
        kind = media_type(request.headers.get("content-type"))
        served = await gateway.find(context, path.get("name"), version)
        body = await read_body(request, gateway.settings)
        reading = functools.partial(read, served, kind, body, gateway.settings, version)
        asked, is_llm = await asyncio.to_thread(reading) if is_long(body) else reading()
        if wants_events(request):
            encode = functools.partial(chunk_of, served)
            return await answer_events(gateway, request, context, served, asked, encode)
        scored = await gateway.score(context, served, asked)
        writing = functools.partial(reply, served, scored, is_llm, gateway.settings)
        content = await asyncio.to_thread(writing) if len(scored.values) > _LONG_ROWS else writing()
        return Response(content, media_type="application/json")

    async def ping(request: Request, context: Context) -> Response:
        if not (await gateway.models.check() or await gateway.models.names()):
            raise ModelNotFoundError("Cannot answer well", "no model is served", "register one")
        return Response("\n", media_type="application/json")

    async def version(request: Request, context: Context) -> Response:
        return Response(importlib.metadata.version("mlflow"), media_type="application/json")

    scoring = ("/invocations", "/models/{name}/invocations", "/models/{name}/versions/{version}/invocations")
    return [
        *(route(gateway, _PROTOCOL, path, invoke) for path in scoring),
        *(route(gateway, _PROTOCOL, path, ping, ("GET",), scope=None) for path in ("/ping", "/health")),
        route(gateway, _PROTOCOL, "/version", version, ("GET",)),
    ]


_LONG_ROWS = 10_000
