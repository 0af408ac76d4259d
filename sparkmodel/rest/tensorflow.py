# SPDX-License-Identifier: Apache-2.0
"""The predict API of TensorFlow Serving, for clients that speak no other: rows, or columns, in JSON."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import orjson
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import MalformedRequestError, VersionRetiredError
from sparkmodel.rest import strict, values
from sparkmodel.rest.asked import Asked, Context, Scored, Served
from sparkmodel.rest.bodies import read_body
from sparkmodel.rest.flow import route, version_of
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.mlflow.columns import table_of
from sparkmodel.rest.mlflow.forms import read_form
from sparkmodel.rest.mlflow.requests import is_long
from sparkmodel.rest.settings import Settings

_PROTOCOL = "tensorflow"
_FORMS = {"instances": "predictions", "inputs": "outputs"}


def routes(gateway: Gateway) -> list[Route]:
    """The protocol's routes."""

    async def predict(request: Request, context: Context) -> Response:
        served, version = await _find(gateway, request, context)
        body = await read_body(request, gateway.settings)
        reading = functools.partial(_read, served, body, gateway.settings, version)
        form, asked = await asyncio.to_thread(reading) if is_long(body) else reading()
        scored = await gateway.score(context, served, asked)
        writing = functools.partial(_written, served, scored, form)
        content = await asyncio.to_thread(writing) if is_long(body) else writing()
        return Response(content, media_type="application/json")

    async def status(request: Request, context: Context) -> Response:
        served, only = await _find(gateway, request, context)
        told = [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in reversed(served.versions)
            if only in (None, version)
        ]
        return Response(orjson.dumps({"model_version_status": told}), media_type="application/json")

    base = "/v1/models/{name}"
    paths = (base, f"{base}/versions/{{version}}", f"{base}/labels/{{label}}")
    return [
        *(route(gateway, _PROTOCOL, f"{path}:predict", predict) for path in paths),
        *(route(gateway, _PROTOCOL, path, status, ("GET",)) for path in paths),
    ]


async def _find(gateway: Gateway, request: Request, context: Context) -> tuple[Served, int | None]:
    """The model, and the number of the version that is asked for, if one is.

    Raises:
        VersionRetiredError: it has no such version, or no version of that label.
    """
    name, label = request.path_params["name"], request.path_params.get("label")
    version = version_of(request)
    served = await gateway.find(context, name, version)
    if label is None:
        return served, version
    version = _labels(served).get(label)
    if version is None:
        raise VersionRetiredError(
            f"Cannot call version '{label[:100]}' of model '{name}'",
            f"its labels are now {sorted(_labels(served))}",
            "call one of these, or leave it out",
        )
    context.version = version
    return served, version


def _labels(served: Served) -> dict[str, int]:
    """`stable` is what new calls get but for a canary's share, `canary` is what gets that share."""
    labels = {"stable": served.version}
    for one in served.handle.pool.directory.served:
        if one.version != served.version and one.weight > 0:
            labels["canary"] = one.version
    return labels


def _read(served: Served, body: bytes, settings: Settings, version: int | None) -> tuple[str, Asked]:
    request = strict.loads(body, settings)
    found = [key for key in _FORMS if isinstance(request, dict) and key in request]
    unknown = set(request) - {*_FORMS, "signature_name"} if isinstance(request, dict) else set()
    if len(found) != 1 or unknown:
        raise MalformedRequestError(
            "Cannot read the request",
            "its body is no object with either 'instances' or 'inputs', and optionally 'signature_name'",
            'send {"instances": [...]}',
        )
    if request.get("signature_name", "") not in ("", "serving_default"):
        raise MalformedRequestError(
            "Cannot read the request", "a model has no signature but 'serving_default'", "leave signature_name out"
        )
    form = found[0]
    table, by_name = table_of(served.spec, read_form(served.spec, {form: _without_b64(request[form])}).columns)
    return form, Asked(table=table, by_name=by_name, version=version)


def _without_b64(value: Any) -> Any:
    """The value with `{"b64": text}`, which stands for bytes, as its text."""
    if isinstance(value, list):
        return [_without_b64(one) if isinstance(one, dict | list) else one for one in value]
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("b64"), str):
            return value["b64"]
        return {key: _without_b64(one) if isinstance(one, dict | list) else one for key, one in value.items()}
    return value


def _written(served: Served, scored: Scored, form: str) -> bytes:
    """Rows for rows; for columns an object with each field of a struct, or the one column itself."""
    zone, given = served.spec.time_zone, scored.values
    told: Any
    if form == "inputs" and pa.types.is_struct(given.type):
        table = pa.Table.from_batches(
            [pa.RecordBatch.from_arrays(chunk.flatten(), schema=pa.schema(list(given.type))) for chunk in given.chunks],
            pa.schema(list(given.type)),
        )
        told = {name: values.ready(table.column(name), zone) for name in table.column_names}
    else:
        told = values.ready(given, zone)
    return orjson.dumps({_FORMS[form]: told}, option=orjson.OPT_NON_STR_KEYS)
