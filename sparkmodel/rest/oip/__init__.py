# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, version 2, as KServe and Triton have it, with binary tensors and repository index."""

from __future__ import annotations

import asyncio
import functools
import time

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import (
    MalformedRequestError,
    PoolNotReadyError,
    UnsupportedRequestError,
)
from sparkmodel.rest import strict
from sparkmodel.rest.asked import Context
from sparkmodel.rest.bodies import read_body
from sparkmodel.rest.events import answer_events, wants_events
from sparkmodel.rest.flow import route, version_of
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.mlflow.requests import is_long
from sparkmodel.rest.oip.answers import Answer, chunk_of, write
from sparkmodel.rest.oip.metadata import index_of, is_ready, metadata_of, server_metadata
from sparkmodel.rest.oip.requests import read

HEADER_LENGTH = "Inference-Header-Content-Length"
_PROTOCOL = "oip"
_LONG_ROWS = 10_000


def routes(gateway: Gateway) -> list[Route]:
    """The protocol's routes."""

    async def live(request: Request, context: Context) -> Response:
        return _json({"live": True})

    async def ready(request: Request, context: Context) -> Response:
        await gateway.models.check()  # 503 while nobody can say which models there are
        return _json({"live": True, "ready": True})

    async def about(request: Request, context: Context) -> Response:
        return _json(server_metadata())

    async def model(request: Request, context: Context) -> Response:
        served = await gateway.find(context, request.path_params["name"], version_of(request))
        return _json(metadata_of(served))

    async def model_ready(request: Request, context: Context) -> Response:
        name, version = request.path_params["name"], version_of(request)
        served = await gateway.find(context, name, version)
        if not is_ready(served, version):
            raise PoolNotReadyError(f"Cannot call model '{name}'", "none of its workers serves now", "wait, or call it")
        return _json({"name": name, "ready": True})

    async def infer(request: Request, context: Context) -> Response:
        version, settings = version_of(request), gateway.settings
        served = await gateway.find(context, request.path_params["name"], version)
        body = await read_body(request, settings)
        reading = functools.partial(read, served, body, request.headers.get(HEADER_LENGTH), settings, version)
        inference = await asyncio.to_thread(reading) if is_long(body) else reading()
        if inference.timeout_s is not None:
            until = time.monotonic() + inference.timeout_s
            context.deadline = until if context.deadline is None else min(until, context.deadline)
        if wants_events(request):
            encode = functools.partial(chunk_of, served, inference)
            return await answer_events(gateway, request, context, served, inference.asked, encode)
        scored = await gateway.score(context, served, inference.asked)
        writing = functools.partial(write, served, scored, inference)
        answer: Answer = await asyncio.to_thread(writing) if len(scored.values) > _LONG_ROWS else writing()
        if answer.header_length is None:
            return Response(answer.body, media_type="application/json")
        headers = {HEADER_LENGTH: str(answer.header_length)}
        return Response(answer.body, headers=headers, media_type="application/octet-stream")

    async def index(request: Request, context: Context) -> Response:
        body = await read_body(request, gateway.settings)
        asked = strict.loads(body, gateway.settings) if body.strip() else {}
        if not isinstance(asked, dict) or not isinstance(asked.get("ready", False), bool):
            raise MalformedRequestError("Cannot read the request", "its body is no object with 'ready', true or false")
        served, names = await gateway.models.all(context.may_call), await gateway.models.names(context.may_call)
        return _json(index_of(served, names, only_ready=asked.get("ready", False)))

    async def load(request: Request, context: Context) -> Response:
        raise UnsupportedRequestError(
            "Cannot load or unload models by this protocol",
            "a load would run code that its caller names",
            "use /admin/models, `sparkmodel register` and `sparkmodel drop`",
        )

    of_model = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
    repository = "/v2/repository"
    return [
        route(gateway, _PROTOCOL, "/v2/health/live", live, ("GET",), scope=None),
        route(gateway, _PROTOCOL, "/v2/health/ready", ready, ("GET",), scope=None),
        *(route(gateway, _PROTOCOL, path, about, ("GET",)) for path in ("/v2", "/v2/")),
        *(route(gateway, _PROTOCOL, path, model, ("GET",)) for path in of_model),
        *(route(gateway, _PROTOCOL, f"{path}/ready", model_ready, ("GET",)) for path in of_model),
        *(route(gateway, _PROTOCOL, f"{path}/infer", infer) for path in of_model),
        route(gateway, _PROTOCOL, f"{repository}/index", index, scope="metrics"),
        *(
            route(gateway, _PROTOCOL, f"{repository}/models/{{name}}/{action}", load, scope="admin")
            for action in ("load", "unload")
        ),
    ]


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
