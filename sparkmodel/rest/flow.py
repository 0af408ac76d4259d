# SPDX-License-Identifier: Apache-2.0
"""What is the same for every request: its context, its error, its headers, and that it is told of."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import SparkModelError
from sparkmodel.rest import problems
from sparkmodel.rest.asked import Context
from sparkmodel.rest.gateway import Gateway

_log = logging.getLogger(__name__)

Handler = Callable[[Request, Context], Awaitable[Response]]


def route(gateway: Gateway, protocol: str, path: str, handler: Handler, methods: tuple[str, ...] = ("POST",)) -> Route:
    """A route whose handler only has to answer what is right: errors are raised.

    Args:
        gateway: What all routes share.
        protocol: In whose words errors are told: `mlflow`, `oip`, `tensorflow`, `arrow` or `admin`.
        path: With placeholders, as Starlette has them.
        handler: Gives the answer.
        methods: HTTP methods.
    """

    async def endpoint(request: Request) -> Response:
        context = context_of(request, protocol, path)
        try:
            response = await handler(request, context)
        except SparkModelError as error:
            response = failed(context, error)
        except Exception as error:
            _log.exception("request %s failed", context.request_id)
            response = failed(context, SparkModelError("Cannot answer the request", f"{type(error).__name__}"))
        context.status = response.status_code
        response.headers["X-Request-Id"] = context.request_id
        if context.scored is not None:
            response.headers["X-Model-Version"] = str(context.scored.version)
        gateway.tell(context)
        return response

    return Route(path, endpoint, methods=list(methods))


def context_of(request: Request, protocol: str, path: str) -> Context:
    """The context of a request, from its headers."""
    headers, now = request.headers, time.monotonic()
    request_id = headers.get("x-request-id") or secrets.token_hex(8)
    context = Context(request_id=request_id, protocol=protocol, path=path, started=now)
    context.trace = headers.get("traceparent", "")
    return context


def failed(context: Context, error: SparkModelError) -> Response:
    """The answer to a request that cannot be answered right."""
    context.condition = error.condition
    status = problems.status_of(error)
    headers = {"Retry-After": str(problems.RETRY_AFTER_S)} if status in (429, 503) else None
    body = problems.body_of(context.protocol, error, context.request_id)
    return Response(orjson.dumps(body), status, headers, "application/json")
