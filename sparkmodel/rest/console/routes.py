# SPDX-License-Identifier: Apache-2.0
"""The console's page and its figures. There is no data in the page: it asks for it, with a token if need be."""

from __future__ import annotations

import functools
import hashlib
import pathlib

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import InvalidOptionError
from sparkmodel.rest import flow
from sparkmodel.rest.asked import Context
from sparkmodel.rest.console.live import KEPT_S, STEP_S, Live
from sparkmodel.rest.gateway import Gateway

_FILES = pathlib.Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_SHOWN_S = 300

# nothing but what the gateway itself serves, no inline script or style, in nobody's frame, and no text can become code
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # the browser asks whether its copy is still right
}


def routes(gateway: Gateway, live: Live | None = None) -> list[Route]:
    """The page at `/console`, to which `/` leads, its files, and `GET /admin/live`; nothing if it is not wanted.

    Args:
        gateway: What all routes share.
        live: Figures to go on with; None begins with none.
    """
    if not gateway.settings.console:
        return []
    live = live or Live()
    gateway.tellers.append(live.tell)

    async def figures(request: Request, context: Context) -> Response:
        told = live.told(_seconds(request.query_params.get("seconds")))
        may_see = context.may_call
        told["models"] = {name: one for name, one in told["models"].items() if may_see is None or name in may_see}
        return Response(orjson.dumps(told), media_type="application/json", headers={"Cache-Control": "no-store"})

    return [
        # relative, so that a proxy may have it all below a path of its own
        Route("/", _to_the_page, methods=["GET"]),
        Route("/console", functools.partial(_file, "index.html"), methods=["GET"]),
        *(
            Route(f"/console/{path.name}", functools.partial(_file, path.name), methods=["GET"])
            for path in sorted(_FILES.iterdir())
            if path.suffix in _TYPES
        ),
        flow.route(gateway, "admin", "/admin/live", figures, ("GET",), scope="metrics"),
    ]


async def _to_the_page(_: Request) -> Response:
    return Response(status_code=307, headers={"Location": "console", **HEADERS})


async def _file(name: str, request: Request) -> Response:
    content, tag = _read(name)
    headers = {**HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_TYPES[pathlib.PurePath(name).suffix])


@functools.cache
def _read(name: str) -> tuple[bytes, str]:
    content = (_FILES / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _seconds(text: str | None) -> int:
    if text is None:
        return _SHOWN_S
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and STEP_S <= int(text) <= KEPT_S):
        raise InvalidOptionError(
            f"Cannot use seconds '{text[:40]}'", f"it is no whole number from {STEP_S} to {KEPT_S}", "give one"
        )
    return int(text)
