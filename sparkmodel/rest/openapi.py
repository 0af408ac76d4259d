# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI page: what can be called now, with the schemas of the models that are deployed now."""

from __future__ import annotations

import re
import secrets
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from sparkmodel.rest import refusals, schemas
from sparkmodel.rest.asked import Context, Served
from sparkmodel.rest.docs_page import PAGE
from sparkmodel.rest.flow import route
from sparkmodel.rest.gateway import Gateway
from sparkmodel.schema import Column
from sparkmodel.version import __version__

_PLACE = re.compile(r"\{[^}]*\}")
_OIP_SERVER = {"type": "object", "required": ["name", "version", "extensions"]}
_OIP_HEALTH = {"type": "object", "required": ["live"]}
# path, what it is, protocol, schema of the answer, errors
_PLAIN: tuple[tuple[str, str, str, schemas.Schema | None, tuple[int, ...]], ...] = (
    ("/ping", "Liveness", "mlflow", None, refusals.PROBE),
    ("/health", "Health", "mlflow", None, refusals.PROBE),
    ("/version", "Version of MLflow's protocol", "mlflow", None, refusals.CLOSED),
    ("/v2", "Server metadata", "oip", _OIP_SERVER, refusals.CLOSED),
    ("/v2/health/live", "Liveness", "oip", _OIP_HEALTH, refusals.OPEN),
    ("/v2/health/ready", "Readiness", "oip", _OIP_HEALTH, refusals.PROBE),
)
_OPEN = ("/ping", "/health", "/v2/health/live", "/v2/health/ready")


def routes(gateway: Gateway) -> list[BaseRoute]:
    """`/openapi.json`, and `/docs`: the page itself tells nothing, and asks for a token where one is needed."""

    async def document(request: Request, context: Context) -> Response:
        served = await gateway.models.all(context.may_call)
        paths = {getattr(one, "path", "") for one in request.app.router.routes}
        return Response(orjson.dumps(document_of(served, paths)), media_type="application/json")

    async def page(request: Request, context: Context) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; connect-src 'self'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'"
        headers = {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'", "X-Content-Type-Options": "nosniff"}
        return Response(PAGE.replace("NONCE", nonce), headers=headers, media_type="text/html")

    return [
        route(gateway, "", "/openapi.json", document, ("GET",)),
        route(gateway, "", "/docs", page, ("GET",), scope=None),
    ]


def document_of(served: list[Served], paths: set[str]) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        served: The models.
        paths: Of all routes of the application; only what is there is told of.
    """
    there = {_PLACE.sub("{}", path) for path in paths}
    told: dict[str, Any] = {}
    for path, summary, protocol, answer, errors in _PLAIN:
        if path in there:
            told[path] = {"get": _operation(summary, path, protocol, answer, errors, is_open=path in _OPEN)}
    for one in served:
        name = one.name
        if "/models/{}/invocations" in there:
            told[f"/models/{name}/invocations"] = {"post": _invocations(one)}
        if "/v2/models/{}/infer" in there:
            told[f"/v2/models/{name}/infer"] = {"post": _infer(one)}
        if "/v2/models/{}" in there:
            about = _operation(f"Metadata of {name}", f"meta_{name}", "oip", {"type": "object"}, refusals.MODEL)
            told[f"/v2/models/{name}"] = {"get": about}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sparkmodel", "version": __version__},
        "security": [{}, {"bearer": []}],
        "paths": told,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": refusals.components(),
        },
    }


def _operation(
    summary: str,
    operation: str,
    protocol: str,
    answer: schemas.Schema | None,
    errors: tuple[int, ...],
    is_open: bool = False,
) -> dict[str, Any]:
    """One that answers JSON, but where there is no `answer`: MLflow calls its health JSON, and it is none."""
    content = {} if answer is None else {"content": {"application/json": {"schema": answer}}}
    found: dict[str, Any] = {
        "summary": summary,
        "operationId": re.sub(r"\W+", "_", operation).strip("_"),
        "responses": {"200": {"description": "The answer", **content}, **refusals.references(protocol, errors)},
    }
    return {**found, "security": []} if is_open else found


def _call(
    one: Served,
    kind: str,
    protocol: str,
    body: schemas.Schema,
    answer: schemas.Schema,
    example: Any,
    errors: tuple[int, ...],
) -> dict[str, Any]:
    operation = _operation(f"{kind}: {one.name}", f"{kind}_{one.name}", protocol, answer, errors)
    if one.spec.comment:
        operation["description"] = one.spec.comment
    content = {"application/json": {"schema": body, "example": example}}
    return {**operation, "requestBody": {"required": True, "content": content}}


def _invocations(one: Served) -> dict[str, Any]:
    answer = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": _result(one)}},
    }
    inputs = one.spec.signature.inputs or ()
    row = {
        "type": "object",
        "properties": {str(i.name): schemas.of_input(i) for i in inputs if i.name is not None},
        "required": [i.name for i in inputs if i.name is not None and i.required],
    }
    cells = {"type": "array", "prefixItems": [schemas.of_input(i) for i in inputs]} if inputs else {"type": "array"}
    forms: dict[str, schemas.Schema] = {
        "dataframe_split": {
            "type": "object",
            "required": ["data"],
            "properties": {
                "columns": {"type": "array", "items": {"type": "string"}},
                "data": {"type": "array", "items": cells},
            },
        },
        "dataframe_records": {"type": "array", "items": row},
        "instances": {"type": "array"},
        "inputs": {"type": ["object", "array"]},
    }
    body = {
        "oneOf": [
            {
                "type": "object",
                "required": [form],
                "properties": {form: schema, "params": {"type": "object"}},
                "additionalProperties": False,
            }
            for form, schema in forms.items()
        ]
    }
    return _call(one, "Predict (MLflow)", "mlflow", body, answer, _example(one, inputs), refusals.CALL)


def _example(one: Served, inputs: tuple[Column, ...]) -> Any:
    given = getattr(one.spec, "example", None)
    if given is not None:
        return orjson.loads(given)
    if any(i.name is None for i in inputs) or not inputs:
        return {"instances": [[schemas.example_of(schemas.of_input(i)) for i in inputs]]}
    values = [schemas.example_of(schemas.of_input(i)) for i in inputs]
    return {"dataframe_split": {"columns": [i.name for i in inputs], "data": [values]}}


def _infer(one: Served) -> dict[str, Any]:
    inputs = one.spec.signature.inputs or ()
    names = [i.name if i.name is not None else f"input-{at}" for at, i in enumerate(inputs)]
    kinds = sorted({schemas.datatype_of(i.type) for i in inputs}) or ["FP64"]
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string", **({"enum": names} if names else {})},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string", "enum": kinds},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": tensor, "minItems": len(names), "maxItems": len(names) or 64},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        },
    }
    answer = {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"const": one.name},
            "outputs": {
                "type": "array",
                "items": {"type": "object", "required": ["name", "shape", "datatype", "data"]},
            },
        },
    }
    example = {"inputs": [_tensor(name, i) for name, i in zip(names, inputs, strict=True)]}
    return _call(one, "Infer (Open Inference Protocol)", "oip", body, answer, example, refusals.EXTENSIBLE)


def _tensor(name: str, column: Column) -> dict[str, Any]:
    value, shape = schemas.example_of(schemas.of_input(column)), [1]
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    return {"name": name, "shape": shape, "datatype": schemas.datatype_of(column.type), "data": [value]}


def _result(one: Served) -> schemas.Schema:
    schema = schemas.of_type(one.spec.result_type)
    return {"anyOf": [schema, {"type": "null"}]} if schema else {}  # NaN is null, and rows at fault may be
