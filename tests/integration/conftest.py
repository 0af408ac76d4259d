# SPDX-License-Identifier: Apache-2.0
"""A standalone Spark cluster for all tests of a run that want one."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pyspark
import pytest

from tests.integration.scripts import ROOT, end, free_port, listens, wait_until


@pytest.fixture(scope="session")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Spark master and one worker with two cores, on loopback."""
    home = tmp_path_factory.mktemp("standalone")
    port = free_port()
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "SPARK_HOME": str(pathlib.Path(pyspark.__file__).parent),
    }
    launcher = str(pathlib.Path(pyspark.__file__).parent / "bin" / "spark-class")

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        log = (home / f"{arguments[0].rsplit('.', 1)[1]}.log").open("wb")
        return subprocess.Popen([launcher, *arguments], cwd=home, env=environment, stdout=log, stderr=log)

    deploy = "org.apache.spark.deploy"
    ports = ["--webui-port", "0", "--host", "127.0.0.1"]
    processes = [start(f"{deploy}.master.Master", "--port", str(port), *ports)]
    try:
        wait_until(lambda: listens(port))
        url = f"spark://127.0.0.1:{port}"
        resources = ["--cores", "2", "--memory", "2g", "--work-dir", str(home / "work")]
        processes.append(start(f"{deploy}.worker.Worker", url, *resources, *ports))
        wait_until(lambda: "Registering worker" in (home / "Master.log").read_text())
        yield url
    finally:
        end(processes)
