# SPDX-License-Identifier: Apache-2.0
"""The gateway answers as its OpenAPI page says, whatever comes: requests that fit its schemas, and some that do not."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import httpx
import hypothesis
import pyarrow as pa
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sparkmodel.schema import Column, Signature
from tests.unit.rest.doors import TOKENS, bearer
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]
CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance, content_type_conformance]


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
