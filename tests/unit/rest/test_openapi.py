# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI page tells of the models that are deployed, and only to who may call them."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pyarrow as pa
import pytest

from sparkmodel.rest import schemas
from sparkmodel.rest.models import served_of
from sparkmodel.rest.openapi import document_of
from sparkmodel.schema import Column, Signature
from tests.unit.rest.doors import TOKENS, bearer
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]
SIGNATURE = Signature(
    inputs=(Column(name="alcohol", type=pa.float64()), Column(name="bottles", type=pa.int8(), required=False))
)


def test_a_models_columns_are_in_its_schema_and_its_example(pools: ToyPools) -> None:
    served = served_of(pools.add("wine", lambda x: x, signature=SIGNATURE))
    told = document_of([served], {"/models/{name}/invocations", "/v2/models/{m}/infer"})
    assert set(told["paths"]) == {"/models/wine/invocations", "/v2/models/wine/infer"}
    content = told["paths"]["/models/wine/invocations"]["post"]["requestBody"]["content"]["application/json"]
    assert content["example"] == {"dataframe_split": {"columns": ["alcohol", "bottles"], "data": [[0.0, 0]]}}
    row = content["schema"]["oneOf"][1]["properties"]["dataframe_records"]["items"]
    assert row["required"] == ["alcohol"]
    assert (row["properties"]["bottles"]["minimum"], row["properties"]["bottles"]["maximum"]) == (-128, 127)


def test_what_is_not_served_is_not_told_of(pools: ToyPools) -> None:
    served = served_of(pools.add("wine", lambda x: x, signature=SIGNATURE))
    assert document_of([served], {"/nothing"})["paths"] == {}


@pytest.mark.parametrize(
    "type_", [pa.int64(), pa.float32(), pa.bool_(), pa.string(), pa.list_(pa.int32()), pa.date32()]
)
def test_an_example_is_of_the_type(type_: pa.DataType) -> None:
    value = schemas.example_of(schemas.of_type(type_))
    assert value is not None


@pytest.mark.usefixtures("doors", "pools")
def test_the_page_is_off_unless_it_is_asked_for_and_loads_nothing_from_elsewhere(gateway: Serve) -> None:
    assert [gateway().get(path).status_code for path in ("/docs", "/openapi.json")] == [404, 404]
    client = gateway(TOKENS, docs=True)
    page = client.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/openapi.json").status_code == 401
    assert client.get("/openapi.json", headers=bearer("predict")).json()["openapi"] == "3.1.0"
