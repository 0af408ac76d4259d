# SPDX-License-Identifier: Apache-2.0
"""The gateway answers as its OpenAPI page says, whatever comes: requests that fit its schemas, and some that do not."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import httpx
import hypothesis
import pyarrow as pa
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sparkmodel.errors import RayUnavailableError
from sparkmodel.rest import models
from sparkmodel.schema import Column, Signature
from tests.unit.rest.doors import TOKENS, bearer
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]
CHECKS = [
    *(not_a_server_error, response_schema_conformance, status_code_conformance, content_type_conformance),
    response_headers_conformance,
]


def signature(**types: Any) -> Signature:
    """Inputs by their names; those that end in `_maybe` may be null."""
    inputs = tuple(Column(name=n, type=t, required=not n.endswith("_maybe")) for n, t in types.items())
    return Signature(inputs=inputs)


MIXED = {"flag": True, "count": 1, "big": 2, "text": "a", "raw": "AA==", "day": "2026-01-02"}
GOOD: dict[str, Any] = {
    "doubles": {"inputs": {"alcohol": [1.0], "ash": [2.0]}},
    "mixed": {"dataframe_records": [MIXED]},
    "tensor": {"instances": [[[1, 2, 3], [4, 5, 6]]]},
    "plain": {"instances": [{"x": 1}]},
}


def serve_all(pools: ToyPools) -> None:
    """A model of each kind."""
    doubles = signature(alcohol=pa.float64(), ash=pa.float64())
    pools.add("doubles", lambda x, **_: x["alcohol"] + x["ash"], signature=doubles)
    mixed = signature(
        flag=pa.bool_(), count=pa.int8(), big=pa.int64(), text=pa.string(), raw=pa.binary(), day=pa.date32(),
        at_maybe=pa.timestamp("us"), share_maybe=pa.float32(), words_maybe=pa.list_(pa.string()),
    )  # fmt: skip
    result = pa.struct([("n", pa.int64()), ("text", pa.string()), ("day", pa.date32())])
    pools.add("mixed", of_mixed, signature=mixed, result_type=result)
    tensor = Signature(inputs=(Column(name=None, type=pa.float32(), shape=(-1, 2, 3)),))
    pools.add("tensor", lambda x, **_: x.sum(axis=(1, 2)).astype("float64"), signature=tensor)
    pools.add("plain", lambda x, **_: [1.0] * len(x))
    pools.add("raises", raises, signature=doubles)


def of_mixed(x: Any, **_: Any) -> Any:
    day = datetime.date(2026, 1, 2)
    return [{"n": i, "text": None if i % 2 else "even", "day": day} for i in range(len(x))]


def raises(x: Any) -> Any:
    raise ValueError("always")


def run(document: dict[str, Any], url: str, headers: dict[str, Any], examples: int) -> list[tuple[str, int]]:
    """Call all that the document tells of; returns what was called and how it was answered."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = url
    seen: list[tuple[str, int]] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = [*schemathesis.GenerationMode] if operation.body else [schemathesis.GenerationMode.POSITIVE]
        for mode in modes:
            seen += call_one(operation, mode, headers, examples)
    return seen


def call_one(operation: Any, mode: Any, headers: dict[str, Any], examples: int) -> list[tuple[str, int]]:
    """Call one operation with requests that fit its schema, or do not."""
    seen: list[tuple[str, int]] = []
    checks = CHECKS[1:] if "raises" in operation.path else CHECKS

    @hypothesis.seed(14)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        response = case.call(headers=headers)
        seen.append((operation.path, response.status_code))
        case.validate_response(response, checks=checks)

    call()
    return seen


def test_what_the_page_tells_of_is_answered_as_it_says(pools: ToyPools, gateway: Serve) -> None:
    serve_all(pools)
    client = gateway(TOKENS, docs=True)
    document = client.get("/openapi.json", headers=bearer("predict")).json()
    seen = set(run(document, str(client.base_url), bearer("predict"), 15))
    assert {path for path, _ in seen} == document["paths"].keys()
    assert {(f"/models/{name}/invocations", 400) for name in GOOD} <= seen  # of bad ones; good ones are rare
    assert ("/models/raises/invocations", 500) in seen
    schema = schemathesis.openapi.from_dict(document)
    for name, body in GOOD.items():
        answer = httpx.post(f"{client.base_url}/models/{name}/invocations", json=body, headers=bearer("predict"))
        assert answer.status_code == 200, answer.text
        schema[f"/models/{name}/invocations"]["POST"].validate_response(answer)


INVOKE, INFER = "/models/doubles/invocations", "/v2/models/doubles/infer"
TENSORS = [{"name": n, "datatype": "FP64", "shape": [1], "data": [1.0]} for n in ("alcohol", "ash")]
SHORT = {"X-Sparkmodel-Timeout-Ms": "0.0001"}
# how a request to which of the two goes wrong, and the settings that make it so
WRONG: dict[int, list[tuple[str, dict[str, Any], dict[str, Any]]]] = {
    400: [(INVOKE, {"json": {}}, {}), (INFER, {"json": {"inputs": []}}, {}), (INFER, {"content": b"{"}, {})],
    401: [(INVOKE, {"headers": {"Authorization": ""}}, {}), (INFER, {"headers": {"Authorization": ""}}, {})],
    403: [
        *((path, {"headers": bearer("metrics")}, {}) for path in (INVOKE, INFER)),
        *((path, {"headers": {"Host": "elsewhere.example"}}, {}) for path in (INVOKE, INFER, "/v2/health/live")),
    ],
    413: [(path, {"json": {"a": "long"}}, {"max_body_bytes": 8}) for path in (INVOKE, INFER)],
    415: [(path, {"content": b"{}", "headers": {"Content-Encoding": "br"}}, {}) for path in (INVOKE, INFER)],
    429: [(path, {"json": {}}, {"max_under_way": 0}) for path in (INVOKE, INFER)],
    501: [(INFER, {"json": {"inputs": TENSORS, "parameters": {"sequence_id": 1}}}, {})],
    504: [
        (INVOKE, {"json": GOOD["doubles"], "headers": SHORT}, {}),
        (INFER, {"json": {"inputs": TENSORS}, "headers": SHORT}, {}),
    ],
}


@pytest.mark.parametrize("status", WRONG)
def test_each_error_is_one_that_the_page_tells_of(status: int, pools: ToyPools, gateway: Serve) -> None:
    serve_all(pools)
    schema = page_of(gateway)
    for path, request, settings in WRONG[status]:
        client = gateway(TOKENS, **settings)
        headers = {**bearer("predict"), **request.get("headers", {})}
        method = "GET" if "health" in path else "POST"
        answer = client.request(method, path, **{**request, "headers": headers})
        assert answer.status_code == status, answer.text
        fits(schema[path][method], answer)


def test_errors_without_a_model_or_a_ray_are_told_of_too(
    pools: ToyPools, gateway: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_all(pools)
    monkeypatch.setattr(models, "_FRESH_S", 0.0)  # else what was so a moment ago counts
    schema, client = page_of(gateway), gateway(TOKENS)

    def check(status: int) -> None:
        for method, path in (
            ("POST", INVOKE),
            ("POST", INFER),
            ("GET", INFER.removesuffix("/infer")),
            ("GET", "/ping"),
        ):
            answer = client.request(method, path, headers={**bearer("predict"), "Content-Type": "application/json"})
            assert answer.status_code == status, answer.text
            fits(schema[path][method], answer)

    names = list(pools.by_name)
    gone = [pools.by_name.pop(name) for name in names]
    check(404)
    pools.by_name.update(zip(names, gone, strict=True))

    def away(*_: Any) -> Any:
        raise RayUnavailableError("Cannot reach Ray", "it is away")

    monkeypatch.setattr(pools, "find", away)
    monkeypatch.setattr(pools, "names", away)
    check(503)
    answer = client.get("/v2/health/ready")
    assert answer.status_code == 503
    fits(schema["/v2/health/ready"]["GET"], answer)


def page_of(gateway: Serve) -> Any:
    """What the page says, of a gateway that has one."""
    return schemathesis.openapi.from_dict(
        gateway(TOKENS, docs=True).get("/openapi.json", headers=bearer("predict")).json()
    )


def fits(operation: Any, answer: httpx.Response) -> None:
    """Whether an answer is one that the page tells of, the error that it may be included."""
    operation.Case().validate_response(answer, checks=CHECKS[1:])
