# SPDX-License-Identifier: Apache-2.0
"""What Spark's executors see: a small application on a cluster that is there."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterable
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from sparkmodel.doctor.finding import FAIL, Finding

_CONNECT_S, _JOB_S = 5.0, 90.0
_SPREAD_S = 0.3  # each task takes so long, so that no executor runs them all

_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",
    "spark.executor.memory": "512m",  # what is left over on a cluster that is in use may not be much
    "spark.driver.memory": "512m",
}


def look_at_executors(master: str, text: str, endpoints: list[tuple[str, int]]) -> tuple[dict[str, Any], list[Finding]]:
    """Facts by executor, and what could not be found out.

    Args:
        master: As `SparkSession.builder.master` takes it; nothing is started for it but this application.
        text: Of the module whose function `collect` is run there.
        endpoints: What is connected to from there.
    """
    lost = _unreachable(master)
    if lost is not None:
        return {}, [lost]
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        builder = SparkSession.builder.appName("sparkmodel doctor").master(master)
        for key, value in _SETTINGS.items():
            builder = builder.config(key, value)
        spark = builder.getOrCreate()
    except Exception as error:  # Py4J's, of many kinds
        return {}, [Finding("spark", FAIL, f"no session on {master}: {_first(error)}", "see Spark's log above")]
    try:
        return _collect(spark, text, endpoints)
    finally:
        spark.stop()


def _unreachable(master: str) -> Finding | None:
    if not master.startswith("spark://"):
        return None
    why = []
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
            return None
        except (OSError, ValueError) as error:
            why.append(f"{address}: {error}")
    return Finding("spark", FAIL, f"nobody answers at {', '.join(why)}", "check the address, and that the master runs")


def _collect(spark: SparkSession, text: str, endpoints: list[tuple[str, int]]) -> tuple[dict[str, Any], list[Finding]]:
    def run(_: Iterable[int]) -> Iterable[str]:  # sent as it is: executors may have no sparkmodel
        import time

        names: dict[str, Any] = {"__name__": "sparkmodel_doctor_facts"}
        exec(text, names)
        time.sleep(_SPREAD_S)
        yield json.dumps(names["collect"](endpoints))

    context = spark.sparkContext
    count = max(2, context.defaultParallelism)
    timer = threading.Timer(_JOB_S, context.cancelAllJobs)
    timer.start()
    try:
        told = [json.loads(one) for one in context.parallelize(range(count), count).mapPartitions(run).collect()]
    except Exception as error:  # PySparkException, Py4JJavaError
        hint = "set PYSPARK_PYTHON to the same Python on all executors"
        if "PYTHON_VERSION_MISMATCH" not in str(error) and not isinstance(error, PySparkException):
            hint = "look whether Spark's master has free executors for an application"
        return {}, [Finding("spark", FAIL, f"no task could be run: {_first(error)}", hint, "executors")]
    finally:
        timer.cancel()
    return {f"executor {one['host']} ({one['executable']})": one for one in told}, []


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "PYTHON_VERSION_MISMATCH" in line or ("Job" in line and "cancelled" in line)]
    return (named or lines or [type(error).__name__])[0][:300]
