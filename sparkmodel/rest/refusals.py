# SPDX-License-Identifier: Apache-2.0
"""Answers that are errors, as the OpenAPI page tells of them: which ones a route has, and what they say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sparkmodel.rest import problems

_SAID = {
    400: "It is no request of this protocol, or not what the model takes",
    401: "It shows no token",
    403: "Its token is not good for this, or its Host header names another host",
    404: "There is no such model, or no such version of it",
    408: "Its body did not come in time",
    413: "It is too long",
    415: "Its Content-Type or Content-Encoding is none that is read",
    429: "Too much is under way, or its caller asks too often",
    500: "The model failed, or the gateway",
    501: "It asks for an extension that is not served",
    503: "Nobody can answer now",
    504: "It was not answered in time",
}
_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}

# what may go wrong: where everybody is let in, where a token may be needed, with a model, and with a call of it
OPEN = (403, 500)
CLOSED = (*OPEN, 400, 401, 429)
PROBE = (*OPEN, 404, 503, 504)
MODEL = (*CLOSED, *PROBE)
CALL = (*MODEL, 408, 413, 415)
EXTENSIBLE = (*CALL, 501)

Json = dict[str, Any]


def references(protocol: str, statuses: Iterable[int]) -> Json:
    """The error answers of one operation, which are told of in `components`."""
    return {str(status): {"$ref": f"#/components/responses/{protocol}_{status}"} for status in sorted({*statuses})}


def components() -> Json:
    """All of them."""
    return {
        f"{protocol}_{status}": _response(protocol, status, said)
        for protocol in ("mlflow", "oip")
        for status, said in _SAID.items()
    }


def _response(protocol: str, status: int, said: str) -> Json:
    schema = problems.schema_of(protocol, status)
    if status == 403:  # a request for another host is refused before anybody looks whose it is
        schema = {"anyOf": [schema, problems.schema_of("", status)]}
    names = ["X-Request-Id", *([_HEADERS[status]] if status in _HEADERS else [])]
    headers = {name: {"required": True, "schema": {"type": "string"}} for name in names}
    return {"description": said, "headers": headers, "content": {"application/json": {"schema": schema}}}
