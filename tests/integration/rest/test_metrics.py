# SPDX-License-Identifier: Apache-2.0
"""One pool, called in every way: its figures say who called, and do not fall when its workers die."""

from __future__ import annotations

import os
import pathlib
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pandas as pd
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel import metrics
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from tests.unit.metrics.figures import shown


class Double:
    """Twice the only column."""

    def predict(self, frame: pd.DataFrame) -> pd.Series:
        return frame.iloc[:, 0] * 2


def rows_of(url: str, name: str) -> dict[str, float]:
    """Rows by source, as they are once the masters' figures are fresh."""
    told = shown(httpx.get(f"{url}/metrics", timeout=30).text).get("sparkmodel_rows_total", {})
    rows: dict[str, float] = {}
    for labels, value in told.items():
        parts = dict(part.split("=", 1) for part in labels.split(","))
        if parts["model"] == name and parts["outcome"] == "ok":
            rows[parts["source"]] = rows.get(parts["source"], 0) + value
    return rows


def until(read: Callable[[], Any], expected: Any, limit_s: float = 20.0) -> None:
    """Wait until what is read is what is expected."""
    deadline = time.monotonic() + limit_s
    while (found := read()) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == expected


def test_rows_are_counted_by_who_calls_and_stay_when_workers_die(
    spark: SparkSession, register: Callable[..., sm.Model], tmp_path: pathlib.Path
) -> None:
    model = register("told", Double(), result_type="double", workers=1)
    settings = Settings(port=0)
    with Server(make_app(Gateway(settings)), settings) as server:
        server.start()
        assert rows_of(server.url, "told") == {}

        assert spark.range(100).selectExpr("sum(told(cast(id AS double)))").first()[0] == 9900.0
        elsewhere = spark.newSession()  # to which no Python has registered it
        elsewhere.sql("SELECT sum(ml_predict('told', cast(id AS double))) FROM range(30)").collect()
        model.predict(pd.DataFrame({"x": [1.0, 2.0, 3.0]}))
        stream(spark, tmp_path, 7)
        body: Any = {"dataframe_split": {"columns": ["x"], "data": [[1.0], [2.0]]}}
        answer = httpx.post(f"{server.url}/models/told/invocations", json=body, timeout=30)
        assert answer.json() == {"predictions": [2.0, 4.0]}

        expected = {"batch": 100.0, "sql": 30.0, "python": 3.0, "stream": 7.0, "rest": 2.0}
        until(lambda: rows_of(server.url, "told"), expected)

        (worker,) = model.stats()["workers"]
        os.kill(worker["pid"], signal.SIGKILL)
        until(lambda: (model.stats()["restarts"], model.stats()["state"]), (1, "ready"))
        model.predict(pd.DataFrame({"x": [1.0]}))
        until(lambda: rows_of(server.url, "told"), {**expected, "python": 4.0})
        told = shown(httpx.get(f"{server.url}/metrics", timeout=30).text)
        assert told["sparkmodel_worker_restarts_total"]["cause=killed,model=told,version=1"] == 1

    served, _ = metrics.start_http_server(0)
    try:
        assert rows_of(f"http://127.0.0.1:{served.server_port}", "told") == {**expected, "python": 4.0}
    finally:
        served.shutdown()
        served.server_close()


def stream(spark: SparkSession, directory: pathlib.Path, rows: int) -> None:
    """Score some rows by a stream."""
    spark.range(rows).write.parquet(str(directory / "in"))
    scored = (
        spark.readStream.schema("id long").parquet(str(directory / "in")).selectExpr("told(cast(id AS double)) AS y")
    )
    query = (
        scored.writeStream.format("parquet")
        .option("checkpointLocation", str(directory / "checkpoint"))
        .trigger(availableNow=True)
        .start(str(directory / "out"))
    )
    assert query.awaitTermination(120)
    assert spark.read.parquet(str(directory / "out")).count() == rows
