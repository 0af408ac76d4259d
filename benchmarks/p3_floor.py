# SPDX-License-Identifier: Apache-2.0
"""P3: against the floor, which is no Spark at all: read the columns, call the model, add up.

Two processes, because threads of one process would take turns at Python's lock while rows become a frame. They are
started, and have loaded the model, before the clock starts, as the pool has.
"""

from __future__ import annotations

import multiprocessing
import pathlib
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import workloads
from benchmarks.common import (
    CORES,
    OURS,
    Array,
    Bench,
    Result,
    compare,
    interleaved,
    registered,
    score_sum,
    score_values,
    versus,
)

FLOOR = "pyarrow + scikit-learn, no Spark"
GOAL = 1.5
BATCH_ROWS = 10_000  # a batch fits the processor's cache; larger ones are slower
_model: Any = None


def run(bench: Bench) -> Result:
    """Measure sparkmodel and two processes that read Parquet and call scikit-learn."""
    work = workloads.linear(bench)
    path = mlflow.artifacts.download_artifacts(work.uri)
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of Ray and Spark
    with (
        registered(bench, "bench_linear", work.uri) as model,
        ProcessPoolExecutor(CORES, spawn, _load, (path,)) as processes,
    ):
        prediction = model(work.features)
        compare(OURS, score_values(OURS, work.df, prediction), work.expected)
        compare(FLOOR, np.concatenate(list(processes.map(_predict, work.files))), work.expected)
        seconds = interleaved(
            {OURS: score_sum(OURS, work.df, prediction), FLOOR: lambda: sum(processes.map(_sum, work.files))},
            bench.runs,
            dict.fromkeys((OURS, FLOOR), work.expected.sum()),
            bench.warm_ups,
        )
    return Result(
        "P3", f"the same {work.rows:,} rows against the floor", versus(seconds, {FLOOR: OURS}, {FLOOR: (GOAL, None)})
    )


def _load(path: str) -> None:
    global _model
    pa.set_cpu_count(1)  # one core for each process
    _model = mlflow.sklearn.load_model(path)


def _predict(file: pathlib.Path) -> Array:
    batches = pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=workloads.COLUMNS, use_threads=False)
    return np.concatenate([_model.predict(batch.to_pandas()) for batch in batches])


def _sum(file: pathlib.Path) -> float:
    return float(_predict(file).sum())
