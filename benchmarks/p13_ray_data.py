# SPDX-License-Identifier: Apache-2.0
"""P13: the rows of P1 through Ray Data, which is what Ray has for scoring files with a pool of actors."""

from __future__ import annotations

import logging
import sys
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import ray.data

from benchmarks import workloads
from benchmarks.common import (
    OURS,
    WORKERS,
    Array,
    Bench,
    Result,
    compare,
    interleaved,
    ray_itself,
    registered,
    score_sum,
    score_values,
    versus,
)
from benchmarks.workloads import Workload

RAY_DATA = "Ray Data map_batches"
GOAL = 0.1
BATCH_ROWS = 10_000  # as Spark's Arrow batches


class Scorer:
    """The model in an actor of Ray Data's pool."""

    def __init__(self, path: str, columns: list[str]) -> None:
        self._model, self._columns = mlflow.sklearn.load_model(path), columns

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        kept = frame[["id"]] if "id" in frame else frame[[]]
        return kept.assign(prediction=self._model.predict(frame[self._columns]))


def run(bench: Bench) -> Result:
    """Measure sparkmodel and two actors of Ray Data."""
    with ray_itself(bench):
        return _run(bench)


def _run(bench: Bench) -> Result:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    work = workloads.linear(bench)
    path = mlflow.artifacts.download_artifacts(work.uri)
    # no CPU is reserved on either side: the two that there are serve the pool, the actors, and whatever reads files
    with registered(bench, "bench_linear", work.uri, num_cpus=0) as model:
        prediction = model(work.features)
        compare(OURS, score_values(OURS, work.df, prediction), work.expected)
        compare(RAY_DATA, _values(work, path), work.expected)
        seconds = interleaved(
            {
                OURS: score_sum(OURS, work.df, prediction),
                RAY_DATA: lambda: _sum(work, path),
            },
            bench.fresh_runs,
            dict.fromkeys((OURS, RAY_DATA), work.expected.sum()),
            bench.warm_ups,
        )
    return Result(
        "P13",
        f"the same {work.rows:,} rows against Ray Data",
        versus(seconds, {RAY_DATA: OURS}, {RAY_DATA: (GOAL, None)}),
    )


def _scored(work: Workload, path: str, columns: list[str]) -> Any:
    """A dataset that is not run yet; each run starts its two actors, which load the model."""
    return ray.data.read_parquet([str(file) for file in work.files], columns=columns).map_batches(
        Scorer,
        fn_constructor_args=(path, workloads.COLUMNS),
        batch_format="pandas",
        batch_size=BATCH_ROWS,
        compute=ray.data.ActorPoolStrategy(size=WORKERS),
        num_cpus=0,
    )


def _values(work: Workload, path: str) -> Array:
    frame = _scored(work, path, ["id", *workloads.COLUMNS]).to_pandas().sort_values("id")
    return np.asarray(frame["prediction"])


def _sum(work: Workload, path: str) -> float:
    """Added up here: the dataset's own `sum` starts more processes for it, and is slower."""
    blocks = _scored(work, path, workloads.COLUMNS).iter_batches(batch_size=None, batch_format="numpy")
    return float(sum(block["prediction"].sum() for block in blocks))
