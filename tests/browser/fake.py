# SPDX-License-Identifier: Apache-2.0
"""A gateway whose admin routes tell of models that are not there; what predicts is real."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from typing import Any

import orjson
import pyarrow as pa
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sparkmodel.rest import flow
from sparkmodel.rest.asked import Asked, Context, Scored
from sparkmodel.rest.console.live import KEPT_S, STEP_S, Live
from sparkmodel.rest.console.routes import routes as console
from sparkmodel.rest.gateway import Gateway
from tests.browser import cards

ADMIN, READER = "admin-token", "reader-token"


class FakeGateway:
    """The console, `/admin/models...` from a dictionary, and predictions of real workers.

    Attributes:
        models: Cards, by name.
        changes: What was asked to be changed: method, path, body.
        asked: How many requests came.
        closed: Whether reading needs a token too.
        broken: Status that all admin routes answer; 0 for none.
        hold: Changes wait until it is set.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.live = Live()
        self.hold = threading.Event()
        self.reset()
        self._gateway = gateway
        self.app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        self.app.router.routes += [
            *console(gateway, self.live),
            flow.route(gateway, "mlflow", "/models/{name}/invocations", self._predict),
            Route("/admin/models", self._admin, methods=["GET"]),
            Route("/admin/models/{name}", self._admin, methods=["GET", "DELETE"]),
            Route("/admin/models/{name}/{what}", self._admin, methods=["GET", "POST"]),
        ]

    @property
    def has_past(self) -> bool:
        """Whether there are calls to look at."""
        return "churn" in self.live.told(KEPT_S)["models"]

    def reset(self) -> None:
        """As it was at first."""
        self.models, self.changes = cards.models(), []
        self.asked, self.closed, self.broken = 0, False, 0
        self.hold.set()

    def past(self) -> None:
        """Half an hour of calls, from a seed."""
        seeded, now = random.Random(14), time.monotonic()
        for name, rate, base_s in (("wine", 34, 0.0026), ("churn", 9, 0.014), ("fares", 2, 0.004)):
            for step in range(int(now - KEPT_S) // STEP_S + 1, int(now) // STEP_S):
                wave = 1 + 0.35 * math.sin(step / 21) + 0.12 * math.sin(step / 5)
                quiet = name == "fares" and step % 60 < 18
                for _ in range(0 if quiet else max(0, int(seeded.gauss(rate * wave, rate / 12)))):
                    failed = name == "churn" and seeded.random() < 0.05
                    taken_s = base_s * seeded.lognormvariate(0.2, 0.45)
                    self.live._clock = lambda at=step * STEP_S + 2.0: at
                    scored = Scored(values=pa.chunked_array([pa.array([1.0])]), version=1)
                    status = 503 if failed else 200
                    context = Context(request_id="", model=name, started=step * STEP_S + 2.0 - taken_s, scored=scored)
                    context.status = status
                    self.live.tell(context)
        self.live._clock = time.monotonic

    async def _predict(self, request: Request, context: Context) -> Response:
        served = await self._gateway.find(context, request.path_params["name"])
        split = orjson.loads(await request.body())["dataframe_split"]
        columns = zip(*split["data"], strict=True)
        table = pa.table(dict(zip(split["columns"], map(pa.array, columns), strict=True)))
        scored = await self._gateway.score(context, served, Asked(table=table))
        return JSONResponse({"predictions": scored.values.to_pylist()})

    async def _admin(self, request: Request) -> Response:
        self.asked += 1
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.broken:
            return _error(self.broken, "INTERNAL_ERROR", "Cannot list models: the keeper is gone.", "start it again")
        if (self.closed or request.method != "GET") and not token:
            return _error(401, "AUTHENTICATION_FAILED", "Cannot answer: no token was sent.", "send one")
        if token and token not in (ADMIN, READER):
            return _error(403, "AUTHENTICATION_FAILED", "Cannot answer: the token is not known.", "use another one")
        if request.method != "GET" and token != ADMIN:
            return _error(
                403, "AUTHENTICATION_FAILED", "Cannot change models: the token is for reading.", "use another"
            )
        return await self._answer(request)

    async def _answer(self, request: Request) -> Response:
        name, what = request.path_params.get("name"), request.path_params.get("what")
        if name is None:
            return JSONResponse({"models": list(self.models.values())})
        if name not in self.models:
            return _error(
                404, "MODEL_NOT_FOUND", f"Cannot find model '{name}': no such model.", f"known are {[*self.models]}"
            )
        if request.method == "GET":
            return JSONResponse({"events": cards.EVENTS} if what == "events" else self.models[name])
        body = await request.body()
        while not self.hold.is_set():
            await asyncio.sleep(0.02)
        self.changes.append((request.method, what, orjson.loads(body) if body else None))
        return JSONResponse(self._changed(name, what, orjson.loads(body) if body else {}))

    def _changed(self, name: str, what: str | None, body: dict[str, Any]) -> dict[str, Any]:
        model = self.models[name]
        if what is None:
            return self.models.pop(name)
        if what == "scale":
            workers = body["workers"]
            model["workers"] = "{}..{}".format(*workers) if isinstance(workers, list) else workers
        elif what == "update" and "traffic" in body:
            model["canary"] = {"version": model["version"] + 1, "traffic": body["traffic"]}
        elif what == "update":
            model["version"] += 1
        elif what == "promote":
            model["version"], model["canary"] = model["canary"]["version"], None
        elif what == "rollback":
            model["version"], model["canary"] = body.get("to", model["version"] - 1), None
        return model


def _error(status: int, condition: str, text: str, hint: str) -> Response:
    body = {"condition": condition, "message": f"[{condition}] {text} Hint: {hint}.", "request_id": "r1"}
    return JSONResponse(body, status)
