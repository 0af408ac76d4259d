# SPDX-License-Identifier: Apache-2.0
"""P6: how often a model is loaded: sixteen partitions, twice, then twenty micro-batches."""

from __future__ import annotations

import os
import pathlib
import sys
import time
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.models import infer_signature
from pyspark.sql import functions as f

from benchmarks.common import (
    OURS,
    SPARK_UDF,
    WORKERS,
    Bench,
    Measure,
    Result,
    compare,
    registered,
    score_values,
)

PARTITIONS, QUERIES, MICRO_BATCHES = 16, 2, 20
TRIAL_PARTITIONS, TRIAL_MICRO_BATCHES = 4, 5  # at least
_ROWS = 1_600
_ROWS_IN_FILE = 100


class SlowToLoad(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Twice the column `a`. Takes its time to load, and writes a line to a file when it has."""

    def load_context(self, context: Any) -> None:
        config = context.model_config
        time.sleep(config["seconds"])
        if config["log"]:
            with open(config["log"], "a") as log:
                log.write(f"{os.getpid()}\n")

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return model_input["a"] * 2


def run(bench: Bench) -> Result:
    """Count the loads of the same MLflow model by sparkmodel and by MLflow's spark_udf."""
    load_s = 1.0 * min(1.0, bench.scale)
    partitions = bench.scaled(PARTITIONS, at_least=TRIAL_PARTITIONS)
    micro_batches = bench.scaled(MICRO_BATCHES, at_least=TRIAL_MICRO_BATCHES)
    uri = _log_model()
    stream_dir = _write_stream(bench.work / "stream", micro_batches)
    logs = {name: bench.work / f"loads-{i}.txt" for i, name in enumerate((OURS, SPARK_UDF))}
    config = {name: {"seconds": load_s, "log": str(path)} for name, path in logs.items()}
    feature = f.struct(f.col("a"))
    seconds: dict[str, float] = {}
    with registered(bench, "bench_loads", uri, model_config=config[OURS]) as model:
        theirs = mlflow.pyfunc.spark_udf(
            bench.spark, uri, result_type="double", env_manager="local", model_config=config[SPARK_UDF]
        )
        for name, prediction in ((OURS, model(feature)), (SPARK_UDF, theirs(feature))):
            started = time.perf_counter()
            _score(bench, name, prediction, partitions, stream_dir)
            seconds[name] = time.perf_counter() - started
    loads = {name: len(path.read_text().splitlines()) for name, path in logs.items()}
    measures = [
        Measure(OURS, [loads[OURS]], "loads", is_ours=True, goal=f"{WORKERS} loads (its workers)"),
        Measure(SPARK_UDF, [loads[SPARK_UDF]], "loads"),
    ]
    measures[0].verdict = "met" if loads[OURS] == WORKERS else "missed"
    measures[1].ratio = loads[OURS] / loads[SPARK_UDF]
    return Result(
        "P6",
        f"model that loads for {load_s:g} s: {partitions} partitions, {QUERIES} queries, {micro_batches} micro-batches",
        measures,
        {"seconds_in_queries": seconds, "load_s": load_s},
    )


def _score(bench: Bench, name: str, prediction: Any, partitions: int, stream_dir: pathlib.Path) -> None:
    rows = bench.spark.range(0, _ROWS, 1, partitions).withColumn("a", f.col("id").cast("double"))
    for _ in range(QUERIES):
        compare(name, score_values(name, rows, prediction), 2.0 * np.arange(_ROWS))
    sink = f"sink_{abs(hash(name))}"
    query = (
        bench.spark.readStream.schema("id long, a double")
        .option("maxFilesPerTrigger", 1)
        .parquet(str(stream_dir))
        .select("id", prediction.alias("prediction"))
        .writeStream.format("memory")
        .queryName(sink)
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    micro_batches = sum(progress.numInputRows > 0 for progress in query.recentProgress)
    wanted = len(list(stream_dir.iterdir()))
    if micro_batches != wanted:
        raise RuntimeError(f"the stream had {micro_batches} micro-batches instead of {wanted}")
    streamed = bench.spark.table(sink)
    compare(name, score_values(name, streamed, f.col("prediction")), 2.0 * np.arange(wanted * _ROWS_IN_FILE))


def _log_model() -> str:
    # by value: Spark's Python workers and the pool's workers need not find this module
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    frame = pd.DataFrame({"a": [1.0]})
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="slow_to_load",
            python_model=SlowToLoad(),
            model_config={"seconds": 0.0, "log": ""},  # MLflow lets callers override only what is logged here
            signature=infer_signature(frame, frame["a"]),
            pip_requirements=["mlflow"],
        )
    return str(info.model_uri)


def _write_stream(folder: pathlib.Path, files: int) -> pathlib.Path:
    """One file for each micro-batch."""
    folder.mkdir()
    for i in range(files):
        ids = np.arange(i * _ROWS_IN_FILE, (i + 1) * _ROWS_IN_FILE)
        pq.write_table(pa.table({"id": ids, "a": ids.astype(float)}), folder / f"{i:02d}.parquet")
    return folder
