# SPDX-License-Identifier: Apache-2.0
"""The admin routes: which models there are, and changes of them, for the command line and the console."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.rest import flow
from sparkmodel.rest.access import check_model
from sparkmodel.rest.admin.actions import Actions
from sparkmodel.rest.admin.fields import Fields
from sparkmodel.rest.admin.looks import Looks
from sparkmodel.rest.admin.work import Work
from sparkmodel.rest.asked import Context
from sparkmodel.rest.bodies import read_body
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.strict import loads

Json = Mapping[str, Any]
_LINES = 200


def routes(gateway: Gateway) -> list[Route]:
    """The routes, each with the scope that its token needs."""
    work, looks = Work(), Looks()
    actions = Actions(gateway.settings)

    def look(path: str, see: Callable[[Request, Context], Json], scope: str = "metrics") -> Route:
        async def handler(request: Request, context: Context) -> Response:
            context.model = request.path_params.get("name", "")
            if context.model:
                check_model(context.may_call, context.model)
            return _json(await work.look(lambda: see(request, context)))

        return flow.route(gateway, "admin", path, handler, ("GET",), scope=scope)

    def change(path: str, action: str, method: str = "POST", status: int = 200) -> Route:
        async def handler(request: Request, context: Context) -> Response:
            body = await read_body(request, gateway.settings)
            fields = Fields(action, loads(body, gateway.settings) if body else {})
            name = request.path_params.get("name") or fields.text("name")
            check_model(context.may_call, name)
            context.model = name
            told = await work.change(context.principal, name, action, lambda: actions.run(action, name, fields))
            gateway.models.forget(name)
            return _json(told, status)

        return flow.route(gateway, "admin", path, handler, (method,), scope="admin")

    one = "/admin/models/{name}"
    return [
        look("/admin/models", lambda _, context: looks.all(context.may_call)),
        look(one, lambda request, _: looks.one(request.path_params["name"])),
        look(one + "/events", lambda request, _: looks.events(request.path_params["name"], work.changes)),
        look(one + "/logs", lambda request, _: looks.logs(request.path_params["name"], _lines(request)), "admin"),
        change("/admin/models", "register", status=201),
        *(change(f"{one}/{action}", action) for action in ("update", "scale", "rollback", "promote")),
        change(one, "drop", "DELETE"),
    ]


def _lines(request: Request) -> int:
    return Fields("logs", {"lines": _number(request.query_params.get("lines", ""))}).whole("lines", _LINES)


def _number(text: str) -> Any:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text or None


def _json(value: Json, status: int = 200) -> Response:
    # numbers that JSON has none of become null; what else orjson does not know is said as it is written
    return Response(orjson.dumps(value, default=str), status, media_type="application/json")
