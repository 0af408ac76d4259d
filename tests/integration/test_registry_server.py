# SPDX-License-Identifier: Apache-2.0
"""A registry behind MLflow's own server, with artifacts that it hands out and with artifacts that it does not."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import mlflow
import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.integration.registered import log_line
from tests.integration.scripts import end, free_port, listens, wait_until


@pytest.fixture
def server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """MLflow looks models up at a server of this test; what is given ends the server."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    options += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", f"{tmp_path}/kept"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *options],
        cwd=tmp_path,
        stdout=(tmp_path / "server.log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    before = mlflow.get_tracking_uri()
    # MLflow keeps the registry there too; where nobody has set one it is to go with the tracking store again
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "")
    try:
        wait_until(lambda: listens(port))
        mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
        mlflow.set_registry_uri(f"http://127.0.0.1:{port}")
        yield lambda: end([process])
    finally:
        mlflow.set_tracking_uri(before)
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]
        if process.poll() is None:
            end([process])


@pytest.mark.slow
def test_models_of_a_server_are_served_and_replaced_while_it_is_down(
    register: Callable[..., sm.Model], spark: SparkSession, server: Callable[[], None], tmp_path: pathlib.Path
) -> None:
    log_line("handed_out", 2, "0")  # of the experiment that every server has
    experiment = mlflow.create_experiment("direct", artifact_location=(tmp_path / "direct").as_uri())
    log_line("direct", 3, experiment)
    client = mlflow.MlflowClient()
    assert client.get_model_version_download_uri("handed_out", "1").startswith("mlflow-artifacts:")
    client.set_registered_model_alias("direct", "champion", "1")

    register("handed_out", "models:/handed_out/1")
    model = register("direct", "models:/direct@champion")
    query = "SELECT round(handed_out(x), 3) AS two, round(direct(x), 3) AS three FROM VALUES (1D), (2D) AS t(x)"
    assert [tuple(row) for row in spark.sql(query).collect()] == [(2.0, 3.0), (4.0, 6.0)]

    server()
    (worker,) = model.stats()["workers"]
    os.kill(worker["pid"], signal.SIGKILL)
    wait_until(lambda: model.stats()["restarts"] == 1 and model.stats()["state"] == "ready")
    assert [tuple(row) for row in spark.sql(query).collect()] == [(2.0, 3.0), (4.0, 6.0)]
