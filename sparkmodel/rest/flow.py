# SPDX-License-Identifier: Apache-2.0
"""What is the same for every request: its doors, its context, its error, its headers, and that it is told of."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import InvalidOptionError, RequestIncompleteError, SparkModelError, VersionRetiredError
from sparkmodel.rest import problems
from sparkmodel.rest.asked import Context
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.leaving import Leaving

_log = logging.getLogger(__name__)
_LONGEST_ID = 128
_LONGEST_S = 86_400.0
_LEFT = 499  # nginx' number for it: nobody reads the answer

Handler = Callable[[Request, Context], Awaitable[Response]]


def route(
    gateway: Gateway,
    protocol: str,
    path: str,
    handler: Handler,
    methods: tuple[str, ...] = ("POST",),
    *,
    scope: str | None = "predict",
) -> Route:
    """A route whose handler only has to answer what is right: errors are raised.

    Args:
        gateway: What all routes share.
        protocol: In whose words errors are told: `mlflow`, `oip`, `tensorflow`, `arrow` or `admin`.
        path: With placeholders, as Starlette has them.
        handler: Gives the answer.
        methods: HTTP methods.
        scope: What a token must be good for: `predict`, `metrics` or `admin`; None lets everybody in, and does not
            count them.
    """

    async def answer(request: Request, context: Context) -> Response:
        token = gateway.access.check(request, scope)
        if token is not None:
            context.principal, context.may_call = token.name, token.models
        context.deadline = deadline_of(request, context.started)
        if scope is None:
            return await handler(request, context)
        caller = context.principal or (request.client.host if request.client else "")
        named = request.path_params.get("name") or request.path_params.get("model") or ""
        with gateway.admission.enter(caller, token, named) as ticket:
            request.state.ticket = ticket
            with Leaving(request):
                return await handler(request, context)

    async def endpoint(request: Request) -> Response:
        context = context_of(request, protocol, path)
        try:
            response = await answer(request, context)
        except SparkModelError as error:
            response = failed(context, error, debug=gateway.settings.debug)
        except asyncio.CancelledError:
            if not getattr(request.state, "left", False):
                raise
            context.condition = RequestIncompleteError.condition
            response = Response(status_code=_LEFT)
        except Exception as error:
            _log.error("request %s failed", context.request_id, exc_info=error)
            response = failed(context, SparkModelError("Cannot answer the request", type(error).__name__))
        context.status = response.status_code
        response.headers["X-Request-Id"] = context.request_id
        if context.version:
            response.headers["X-Model-Version"] = str(context.version)
        if not context.streaming:  # else it is told of when its stream ends
            gateway.tell(context)
        return response

    return Route(path, endpoint, methods=list(methods))


def context_of(request: Request, protocol: str, path: str) -> Context:
    """The context of a request, from its headers."""
    headers, now = request.headers, time.monotonic()
    request_id = headers.get("x-request-id", "")
    if not (0 < len(request_id) <= _LONGEST_ID and request_id.isascii() and request_id.isprintable()):
        request_id = secrets.token_hex(8)
    context = Context(request_id=request_id, protocol=protocol, path=path, started=now)
    context.trace = headers.get("traceparent", "")
    return context


def deadline_of(request: Request, started: float) -> float | None:
    """When the answer is of no use any more, by the monotonic clock; None where `X-Sparkmodel-Timeout-Ms` is not sent.

    Raises:
        InvalidOptionError: it is no number of milliseconds above 0.
    """
    given = request.headers.get("x-sparkmodel-timeout-ms")
    if given is None:
        return None
    try:
        left_s = float(given) / 1e3
    except ValueError:
        left_s = math.nan
    if not left_s > 0:
        raise InvalidOptionError(
            "Cannot use header 'X-Sparkmodel-Timeout-Ms'", "it is no number of milliseconds above 0"
        )
    return started + min(left_s, _LONGEST_S)


def version_of(request: Request) -> int | None:
    """Number of the version in a request's path; None where it has none.

    Raises:
        VersionRetiredError: it is no number.
    """
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise VersionRetiredError(f"Cannot call version '{text[:100]}'", "it is no number", "write a number, such as 1")
    return int(text)


def failed(context: Context, error: SparkModelError, *, debug: bool = False) -> Response:
    """The answer to a request that cannot be answered right."""
    context.condition = error.condition
    status = problems.status_of(error)
    if (told := error if debug else problems.without_values(error)) is not error:
        _log.warning("request %s of model '%s': %s", context.request_id, context.model, error.message)
    body = problems.body_of(context.protocol, told, context.request_id)
    return Response(orjson.dumps(body), status, problems.headers_of(error, status), "application/json")
