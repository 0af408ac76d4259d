# SPDX-License-Identifier: Apache-2.0
"""What is told of the server and its models."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pyarrow as pa
import pytest

from sparkmodel.schema import Column, Signature
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]


@pytest.fixture
def client(pools: ToyPools, gateway: Serve) -> httpx.Client:
    signature = Signature(inputs=(Column(name="a", type=pa.int64()), Column(name="b", type=pa.date32())))
    result = pa.struct([("label", pa.string()), ("scores", pa.list_(pa.float32()))])
    pools.add("m", lambda frame: frame, signature=signature, result_type=result)
    return gateway()


def test_health_and_metadata_of_the_server(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    for path in ("/v2", "/v2/"):
        assert set(client.get(path).json()) == {"name", "version", "extensions"}


def test_metadata_of_a_model(client: httpx.Client) -> None:
    for path in ("/v2/models/m", "/v2/models/m/versions/1"):
        told = client.get(path).json()
        assert told["versions"] == ["1"]
        assert told["inputs"] == [
            {"name": "a", "datatype": "INT64", "shape": [-1]},
            {"name": "b", "datatype": "BYTES", "shape": [-1], "parameters": {"type": "date32[day]"}},
        ]
        assert [(one["name"], one["datatype"], one["shape"]) for one in told["outputs"]] == [
            ("label", "BYTES", [-1]),
            ("scores", "FP32", [-1, -1]),
        ]
        assert client.get(f"{path}/ready").json() == {"name": "m", "ready": True}


@pytest.mark.parametrize("path", ["x", "x/ready", "m/versions/2", "m/versions/one/ready"])
def test_what_is_not_there_is_404(path: str, client: httpx.Client) -> None:
    response = client.get(f"/v2/models/{path}")
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


def test_the_repository_is_told_of_and_not_changed(client: httpx.Client) -> None:
    one = {"name": "m", "version": "1", "state": "READY", "reason": ""}
    assert client.post("/v2/repository/index", json={"ready": True}).json() == [one]
    assert client.post("/v2/repository/index").json() == [one]
    assert client.post("/v2/repository/index", json={"ready": 1}).status_code == 400
    assert client.post("/v2/repository/models/m/load").status_code == 401  # for admin alone, which then gets 501
