# SPDX-License-Identifier: Apache-2.0
"""Models registered and moved through REST, with real Ray, MLflow's registry, and Spark beside it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import mlflow
import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.rest.serve import serve
from tests.integration.registered import FRAME, line, log

SERVE = """
import atexit, sys
from sparkmodel.cli import main
atexit.register(lambda: print("ENGINES", sorted({"pyspark", "mlflow", "ray"} & set(sys.modules)), flush=True))
sys.exit(main(["serve", "--port", "0", "--model", sys.argv[1]]))
"""


@pytest.fixture
def admin(
    spark: SparkSession, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., httpx.Response]]:
    """`admin("POST", "/admin/models", name=..., ...)` asks a gateway of this process's Ray."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve(port=0, block=False) as server:
        (told,) = (tmp_path / ".sparkmodel" / "gateways").glob("*.json")
        token = json.loads(told.read_text())["token"]
        with httpx.Client(base_url=server.url, timeout=120, headers={"Authorization": f"Bearer {token}"}) as client:
            yield lambda method, path, **body: client.request(method, path, json=body or None)


@pytest.fixture
def doubled(mlflow_store: pathlib.Path) -> str:
    """A registered model of two versions: the first doubles, the second triples; with an input example."""
    for factor in (2.0, 3.0):
        log("admin_line", {**line(factor), "input_example": FRAME})
    mlflow.MlflowClient().set_registered_model_alias("admin_line", "champion", "1")
    return "models:/admin_line@champion"


def test_a_model_lives_through_rest_and_spark_sees_it(
    admin: Callable[..., httpx.Response], doubled: str, spark: SparkSession
) -> None:
    made = admin("POST", "/admin/models", name="by_rest", source=doubled, options={"num_cpus": 0.5})
    assert made.status_code == 201, made.text
    try:
        card = made.json()
        assert (card["version"], card["resolved"], card["running"]) == (1, "models:/admin_line/1", 1)
        assert card["example"] == {"dataframe_split": {"columns": ["x"], "data": [[1.0], [2.0], [4.0]]}}
        sm.get("by_rest", spark)
        assert spark.sql("SELECT by_rest(4.0D) AS y").first()["y"] == 8.0

        def change(action: str, **body: Any) -> dict[str, Any]:
            answer = admin("POST", f"/admin/models/by_rest/{action}", **body)
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        card = change("update", source="models:/admin_line/2", traffic=0.5, max_error_rate=0.5)
        assert card["canary"] == {"version": 2, "traffic": 0.5}
        assert change("promote")["version"] == 2
        assert sm.get("by_rest").predict({"x": [4.0]}) == [12.0]
        assert change("rollback")["version"] == 1
        assert sm.get("by_rest").predict({"x": [4.0]}) == [8.0]
        assert change("scale", workers=2)["running"] == 2
        details = admin("GET", "/admin/models/by_rest").json()
        assert [one["version"] for one in details["versions"] if one["state"] == "serving"] == [1]
        assert len(details["workers_now"]) == 2
        texts = [event["text"] for event in admin("GET", "/admin/models/by_rest/events").json()["events"]]
        assert "promote by local: done" in texts
    finally:
        assert admin("DELETE", "/admin/models/by_rest").json() == {"name": "by_rest"}
    assert "by_rest" not in sm.models()


def test_a_model_registered_from_spark_is_seen_and_one_that_is_not_there_is_not(
    admin: Callable[..., httpx.Response], doubled: str, register: Callable[..., sm.Model]
) -> None:
    register("by_spark", doubled)
    cards = {card["name"]: card for card in admin("GET", "/admin/models").json()["models"]}
    assert cards["by_spark"]["result_type"] == "double"
    answer = admin("POST", "/admin/models", name="nothing", source="models:/admin_lime@champion")
    assert (answer.status_code, answer.json()["condition"]) == (404, "MODEL_NOT_FOUND")
    assert "nothing" not in sm.models()


def test_the_command_serves_without_an_engine_in_its_process(doubled: str, tmp_path: pathlib.Path) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SPARKMODEL_")}
    environ["HOME"] = str(tmp_path)

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "sparkmodel", *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=True).stdout

    with subprocess.Popen(
        [sys.executable, "-c", SERVE, f"served={doubled}"], env=environ, stdout=subprocess.PIPE, text=True
    ) as gateway:
        try:
            assert gateway.stdout is not None
            assert gateway.stdout.readline().startswith("sparkmodel serves at http://127.0.0.1:")
            (card,) = json.loads(run("models", "--json"))
            assert (card["name"], card["state"]) == ("served", "ready")
            assert json.loads(run("update", "served", "models:/admin_line/2", "--json"))["version"] == 2
            (tmp_path / "rows.csv").write_text("x\n2.0\n4.0\n")
            assert run("predict", "served", str(tmp_path / "rows.csv")) == "6.0\n12.0\n"
        finally:
            gateway.send_signal(signal.SIGINT)
        rest = gateway.stdout.read()
        assert gateway.wait(60) == 0
    assert "ENGINES []" in rest
