# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Serving's predict, in rows and in columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pyarrow as pa
import pytest

from sparkmodel.schema import Column, Signature
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]
RESULT = pa.struct([("n", pa.int64()), ("raw", pa.binary())])


class Echo:
    """Gives back its columns."""

    def predict(self, data: Any) -> Any:
        return data


@pytest.fixture
def client(pools: ToyPools, gateway: Serve) -> httpx.Client:
    inputs = (Column(name="n", type=pa.int64()), Column(name="raw", type=pa.binary()))
    pools.add("m", Echo(), signature=Signature(inputs=inputs), result_type=RESULT)
    return gateway()


ROWS = [{"n": 2**53 + 1, "raw": {"b64": "YQ=="}}, {"n": 2, "raw": {"b64": "Yg=="}}]


@pytest.mark.parametrize("path", ["m", "m/versions/1", "m/labels/stable"])
def test_rows_give_rows_and_columns_give_columns(path: str, client: httpx.Client) -> None:
    rows = client.post(f"/v1/models/{path}:predict", json={"instances": ROWS, "signature_name": "serving_default"})
    assert [row["n"] for row in rows.json()["predictions"]] == [2**53 + 1, 2]
    columns = {"n": [2**53 + 1, 2], "raw": [{"b64": "YQ=="}, {"b64": "Yg=="}]}
    answer = client.post(f"/v1/models/{path}:predict", json={"inputs": columns}).json()["outputs"]
    assert answer["n"] == [2**53 + 1, 2]
    assert [text.strip() for text in answer["raw"]] == ["YQ==", "Yg=="]


def test_the_state_of_versions_is_told(client: httpx.Client) -> None:
    (told,) = client.get("/v1/models/m").json()["model_version_status"]
    assert (told["version"], told["state"], told["status"]["error_code"]) == ("1", "AVAILABLE", "OK")


@pytest.mark.parametrize("path", ["x", "m/versions/2", "m/labels/canary"])
def test_what_is_not_there_is_404(path: str, client: httpx.Client) -> None:
    response = client.post(f"/v1/models/{path}:predict", json={"instances": ROWS})
    assert (response.status_code, set(response.json())) == (404, {"error"})


@pytest.mark.parametrize(
    "body", [{}, [], {"instances": [], "inputs": []}, {"instances": [1], "signature_name": "x"}, {"instances": [{}]}]
)
def test_a_wrong_request_is_400(body: Any, client: httpx.Client) -> None:
    response = client.post("/v1/models/m:predict", json=body)
    assert (response.status_code, set(response.json())) == (400, {"error"})
