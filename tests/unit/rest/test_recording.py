# SPDX-License-Identifier: Apache-2.0
"""The record of calls from one end to the other: real workers, a real gateway, real files."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparkmodel.errors import InvalidOptionError, SparkModelError
from sparkmodel.options import PoolOptions
from sparkmodel.pool.worker import Worker
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from sparkmodel.schema import Column, Signature
from sparkmodel.wire.client import client_of
from tests.unit.pool.toys import eventually
from tests.unit.rest.toys import ToyPool, ToyPools

SIGNATURE = Signature(
    inputs=(Column(name="x", type=pa.float64(), required=True, shape=None),), output=pa.float64(), params=None
)


def double(frame: Any) -> Any:
    if (frame["x"] < 0).any():
        raise ValueError("negative")
    time.sleep(0.002)
    return frame["x"] * 2


TOOK: list[float] = []


def timed(frame: Any) -> Any:
    began = time.monotonic()
    values = double(frame)
    TOOK.append(time.monotonic() - began)
    return values


def read(directory: pathlib.Path) -> list[dict[str, Any]]:
    found = [row for file in directory.rglob("*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
    return sorted(found, key=lambda row: row["time"])


def on_the_wire(pool: ToyPool, *batches: list[float]) -> list[float]:
    handle = pool.handle().calling(source="sql")
    rows = [pa.record_batch({"x": values}) for values in batches]
    chunks = client_of(handle).predict(rows, True, caller=handle, timeout_s=20)
    return [value for chunk in chunks for value in chunk.to_pylist()]


def post(client: httpx.Client, *values: float, path: str = "double") -> httpx.Response:
    body = {"dataframe_split": {"columns": ["x"], "data": [[value] for value in values]}}
    return client.post(f"/models/{path}/invocations", json=body, headers={"X-Request-Id": "r1"})


def serving(**settings: Any) -> tuple[Server, httpx.Client]:
    settled = Settings(port=0, **settings)
    server = Server(make_app(Gateway(settled)), settled)
    server.start()
    return server, httpx.Client(base_url=server.url, timeout=60)


def end(server: Server, client: httpx.Client) -> None:
    client.close()
    server.close()


@pytest.mark.parametrize("by_gateway", [False, True])
def test_a_call_is_recorded_once_whoever_makes_it(pools: ToyPools, tmp_path: pathlib.Path, by_gateway: bool) -> None:
    pool = pools.add("double", double, signature=SIGNATURE, record=f"parquet:{tmp_path}/model")
    server, client = serving(**({"record": f"parquet:{tmp_path}/gateway"} if by_gateway else {}))
    assert on_the_wire(pool, [1.0, 2.0], [3.0]) == [2.0, 4.0, 6.0]
    assert post(client, 4.0, 5.0, 6.0).json() == {"predictions": [8.0, 10.0, 12.0]}
    assert post(client, -1.0).status_code == 500
    assert client.get("/health").status_code == client.get("/v2/models/double").status_code == 200
    assert client.post("/models/none/invocations", json={}).status_code == 404
    end(server, client)
    pool.close()
    events = read(tmp_path)
    assert len(read(tmp_path / "gateway")) == (2 if by_gateway else 0)
    queries = [event for event in events if event["source"] == "sql"]
    calls = [event for event in events if event["source"] == "rest"]
    assert len(events) == len(queries) + len(calls) == 4
    assert [(event["rows"], event["version"], event["outcome"]) for event in queries] == [
        (2, 1, "ok"),
        (1, 1, "ok"),
    ]
    assert [event["bytes"] for event in queries] == [16, 8]
    assert all(event["predict_s"] >= 0.002 and event["queue_s"] >= 0 and event["call_s"] is None for event in queries)
    assert [(event["rows"], event["version"], event["outcome"], event["request_id"]) for event in calls] == [
        (3, 1, "ok", "r1"),
        (1, 1, "PREDICT_FAILED", "r1"),
    ]
    told = ("queue_s", "predict_s", "transfer_s")
    assert calls[0]["predict_s"] >= 0.002
    assert calls[0]["queue_s"] >= 0
    assert calls[0]["call_s"] >= sum(calls[0][name] for name in told)
    assert [calls[1][name] for name in told] == [None, None, None]
    assert calls[1]["call_s"] > 0
    assert {event["model"] for event in events} == {"double"}
    assert all(event["inputs"] is event["outputs"] is None for event in events)  # no sample was asked for


def test_a_long_request_has_the_time_of_all_its_batches(pools: ToyPools, tmp_path: pathlib.Path) -> None:
    pool = pools.add("double", timed, workers=2, signature=SIGNATURE, record=f"parquet:{tmp_path}")
    server, client = serving()
    TOOK.clear()
    long = post(client, *[1.0] * 40_000, path="double/versions/1")  # a pool without a master gives no version
    assert long.status_code == 200
    end(server, client)
    pool.close()
    (call,) = read(tmp_path)
    assert call["rows"] == 40_000
    assert len(TOOK) == 4  # 10,000 rows each
    assert call["predict_s"] >= sum(TOOK) - 1e-5  # the wire has whole microseconds
    assert call["queue_s"] >= 0
    assert call["transfer_s"] >= 0


def test_first_rows_are_recorded_where_they_were_asked_for(pools: ToyPools, tmp_path: pathlib.Path) -> None:
    pool = pools.add("double", double, signature=SIGNATURE, record=f"parquet:{tmp_path}", record_sample=1)
    server, client = serving()
    on_the_wire(pool, [float(n) for n in range(100)])
    post(client, 1.0)
    end(server, client)
    pool.close()
    query, call = read(tmp_path)
    assert json.loads(query["inputs"]) == {"columns": ["x"], "data": [[float(n)] for n in range(10)]}
    assert [row[0] for row in json.loads(query["outputs"])["data"]] == [2.0 * n for n in range(10)]
    assert json.loads(call["inputs"]) == {"columns": ["x"], "data": [[1.0]]}
    assert json.loads(call["outputs"]) == {"columns": ["predictions"], "data": [[2.0]]}


def test_stats_say_what_became_of_each_batch(pools: ToyPools, tmp_path: pathlib.Path) -> None:
    pool = pools.add("double", double, signature=SIGNATURE, record=f"parquet:{tmp_path}/a")
    worker: Worker = pool.workers[0][0]
    told = worker._recorder
    assert told is not None
    for _ in range(20):
        on_the_wire(pool, [1.0])
    eventually(lambda: told.counts().observed == 20)  # a worker tells of a batch once it has answered it
    (tmp_path / "file").touch()  # no directory can be made in it
    for directory in (f"{tmp_path}/file/b", f"{tmp_path}/c"):
        options = dataclasses.replace(worker.spec.options, record=f"parquet:{directory}")
        worker.configure(dataclasses.replace(worker.spec, options=options))
        before = told.counts().observed
        for _ in range(10):
            on_the_wire(pool, [1.0])
        eventually(lambda before=before: told.counts().observed == before + 10)
    pool.close()
    stats = pool.stats()
    assert stats["batches"] == stats["recorded"] + stats["record_dropped"] == 40
    assert stats["record_dropped"] == 10
    assert len(read(tmp_path / "a")) + len(read(tmp_path / "c")) == stats["recorded"] == 30


def test_a_gateway_that_cannot_record_where_the_model_does_goes_on(
    pools: ToyPools, gateway: Callable[..., httpx.Client], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    pools.add("double", double, signature=SIGNATURE, record=f"parquet:{tmp_path}")
    client = gateway()

    def refuse(uri: str) -> None:
        raise InvalidOptionError("Cannot use option 'record'", "its library is not here")

    monkeypatch.setattr("sparkmodel.records.targets.check", refuse)
    assert [post(client, 1.0).status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "settings",
    [
        {"record": "elsewhere:/x"},
        {"record": "postgresql://me:pw@host/calls"},
        {"record": "parquet:/x", "record_sample": 2},
        {"record_sample": 0.5},
    ],
)
def test_a_record_that_cannot_be_written_is_refused_before_anything_serves(settings: dict[str, Any]) -> None:
    with pytest.raises(SparkModelError) as caught:
        Settings(**settings)
    assert caught.value.condition == "INVALID_OPTION"
    assert "pw" not in str(caught.value)


def test_the_options_of_pools_and_gateways_are_named_alike() -> None:
    of_gateways = {field.name for field in dataclasses.fields(Settings)}
    of_pools = {field.name for field in dataclasses.fields(PoolOptions)}
    assert {"record", "record_sample"} <= of_gateways & of_pools
