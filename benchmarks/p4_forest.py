# SPDX-License-Identifier: Apache-2.0
"""P4: a forest of 100 trees, where nearly all time goes into the model: the pool must not be slower."""

from __future__ import annotations

from benchmarks import workloads
from benchmarks.common import (
    OURS,
    PYTHON_PATH,
    SPARK_UDF,
    Bench,
    Result,
    compare,
    interleaved,
    registered,
    score_sum,
    score_values,
    spark_udf,
    versus,
)

AGAIN = f"{SPARK_UDF}, against the Python path"
GOAL = 1.0


def run(bench: Bench) -> Result:
    """Measure sparkmodel's two paths and MLflow's spark_udf."""
    work = workloads.forest(bench)
    with registered(bench, "bench_forest", work.uri) as model:
        predictions = {
            OURS: model(work.features),
            PYTHON_PATH: model(work.features),
            SPARK_UDF: spark_udf(bench.spark, work.uri)(work.features),
        }
        for name, prediction in predictions.items():
            compare(name, score_values(name, work.df, prediction), work.expected)
        seconds = interleaved(
            {name: score_sum(name, work.df, prediction) for name, prediction in predictions.items()},
            bench.runs,
            dict.fromkeys(predictions, work.expected.sum()),
            bench.warm_ups,
        )
    seconds[AGAIN] = seconds[SPARK_UDF]
    return Result(
        "P4",
        f"forest of 100 trees, {work.rows:,} rows",
        versus(seconds, {SPARK_UDF: OURS, AGAIN: PYTHON_PATH}, dict.fromkeys((SPARK_UDF, AGAIN), (GOAL, None))),
        {"rows": work.rows, "partitions": work.partitions},
    )
