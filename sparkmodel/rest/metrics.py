# SPDX-License-Identifier: Apache-2.0
"""`GET /metrics`: what this gateway counts, and what all pools do, as Prometheus reads it.

`?part=gateway` is the former and `?part=pools` the latter, so that of several gateways one tells of the pools, which
would be added up several times otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import HistogramMetricFamily, Metric
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import InvalidOptionError
from sparkmodel.keeper import pools
from sparkmodel.metrics.exposition import written
from sparkmodel.metrics.families import families, stage_family
from sparkmodel.metrics.gateway import Figures
from sparkmodel.metrics.pools import Reader
from sparkmodel.rest.asked import Context
from sparkmodel.rest.flow import route
from sparkmodel.rest.gateway import Gateway
from sparkmodel.scoring.series import OK

_PARTS = ("all", "gateway", "pools")
_COUNTED = ("mlflow", "oip", "tensorflow", "arrow")


def routes(gateway: Gateway) -> list[Route]:
    """The route of metrics; from now on the gateway counts."""
    figures, reader = Figures(), Reader(lambda: pools)
    gateway.tellers.append(lambda context: count(figures, context))
    threads = ThreadPoolExecutor(1, thread_name_prefix="sparkmodel-scrape")

    async def answer(request: Request, context: Context) -> Response:
        part = request.query_params.get("part", "all")
        if part not in _PARTS:
            raise InvalidOptionError("Cannot show metrics", f"there is no part '{part}'", f"ask for {list(_PARTS)}")

        def collect() -> tuple[bytes, str]:
            figures.inflight = gateway.admission.under_way
            found = _visible(_collected(part, figures, reader), context.may_call)
            return written(found, request.headers.get("accept", ""))

        # a thread of its own: a pool that hangs must not hold up the look-ups of models
        body, media_type = await asyncio.get_running_loop().run_in_executor(threads, collect)
        return Response(body, headers={"content-type": media_type, "cache-control": "no-store"})

    return [route(gateway, "admin", "/metrics", answer, ("GET",), scope="metrics")]


def count(figures: Figures, context: Context) -> None:
    """Count a request that was answered, if it was one that calls models."""
    if context.protocol not in _COUNTED or (not context.model and not context.condition):
        return
    if context.scored is None and not context.condition:
        return  # asked about a model, not for predictions
    scored = context.scored
    figures.answered(
        context.model,
        context.version or 0,
        context.condition or OK,
        time.monotonic() - context.started,
        stages=None if scored is None else {"wait": scored.wait_s, "transfer": scored.transfer_s},
        retries=0 if scored is None else scored.retries,
        hedged=scored is not None and scored.hedged,
    )


def _visible(found: Iterable[Metric], only: frozenset[str] | None) -> Iterable[Metric]:
    """Without what is told of models that a token is not good for."""
    if only is None:
        return found
    seen = list(found)
    for family in seen:
        family.samples = [one for one in family.samples if one.labels.get("model", "") in (*only, "")]
    return seen


def _collected(part: str, figures: Figures, reader: Reader) -> Iterable[Metric]:
    found = {family.name: family for family in families(reader.read())} if part != "gateway" else {}
    if part == "pools":
        return found.values()
    stages = found.get("sparkmodel_stage_seconds") or stage_family()
    assert isinstance(stages, HistogramMetricFamily)
    own = figures.families(stages)
    return {**found, stages.name: stages, **{family.name: family for family in own}}.values()
