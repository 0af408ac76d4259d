# SPDX-License-Identifier: Apache-2.0
"""P1: a linear model over wide rows, where nearly all time goes into moving them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlflow
import pandas as pd
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import functions as f
from pyspark.sql.types import DoubleType

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

BATCH_ROWS = 10_000  # as Spark's Arrow batches, which the other two get
OURS_COLUMNS = f"{OURS}, columns"
SPARK_UDF_COLUMNS = f"{SPARK_UDF}, columns"
PREDICT_BATCH_UDF = "predict_batch_udf"
PYTHON_PATH_COLUMNS = f"{PYTHON_PATH}, columns"
AGAIN = f"{SPARK_UDF}, against the Python path"
GOAL, PYTHON_PATH_GOAL = 0.3, 0.75


def run(bench: Bench) -> Result:
    """Measure both paths and MLflow's spark_udf on one struct and on eleven columns, and predict_batch_udf."""
    work = workloads.linear(bench)
    columns = [f.col(name) for name in workloads.COLUMNS]
    theirs = spark_udf(bench.spark, work.uri)
    with registered(bench, "bench_linear", work.uri) as model:
        predictions = {
            OURS: model(work.features),
            PYTHON_PATH: model(work.features),
            SPARK_UDF: theirs(work.features),
            OURS_COLUMNS: model(*columns),
            PYTHON_PATH_COLUMNS: model(*columns),
            SPARK_UDF_COLUMNS: theirs(*columns),
            PREDICT_BATCH_UDF: _predict_batch(work.uri)(work.features),
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
    # like with like
    pairs = {SPARK_UDF: OURS, AGAIN: PYTHON_PATH, SPARK_UDF_COLUMNS: OURS_COLUMNS, PREDICT_BATCH_UDF: OURS}
    goals = {SPARK_UDF: (GOAL, None), AGAIN: (PYTHON_PATH_GOAL, None)}
    return Result(
        "P1",
        f"linear model, {work.rows:,} rows x 11 doubles from Parquet",
        versus(seconds, pairs, goals),
        {"rows": work.rows, "partitions": work.partitions},
    )


def _predict_batch(uri: str) -> Any:
    """Spark's own function; it makes one matrix of the struct and calls scikit-learn without pyfunc."""

    def make() -> Callable[[Any], Any]:
        model = mlflow.sklearn.load_model(path)

        def predict(inputs: Any) -> Any:
            return model.predict(pd.DataFrame(inputs, columns=columns))

        return predict

    path = mlflow.artifacts.download_artifacts(uri)
    columns = workloads.COLUMNS
    return predict_batch_udf(
        make, return_type=DoubleType(), batch_size=BATCH_ROWS, input_tensor_shapes=[[len(columns)]]
    )
