# SPDX-License-Identifier: Apache-2.0
"""A Spark ML pipeline: each worker has a small Spark of its own in its process, which ends with the pool."""

from __future__ import annotations

import os
from collections.abc import Callable

import mlflow
import pandas as pd
import psutil
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.integration.frameworks.conftest import Score
from tests.integration.scripts import wait_until

Register = Callable[..., sm.Model]


def java() -> set[int]:
    """Java processes below this one."""
    children = psutil.Process(os.getpid()).children(recursive=True)
    return {child.pid for child in children if "java" in child.name()}


@pytest.mark.slow
def test_a_spark_ml_pipeline(
    spark: SparkSession, mlflow_store: object, register: Register, score: Score, numbers: pd.DataFrame
) -> None:
    labelled = numbers.assign(label=(numbers["a"] > numbers["b"]).astype(float))
    table = spark.createDataFrame(labelled.to_dict("records"))
    stages = [VectorAssembler(inputCols=["a", "b", "c"], outputCol="features"), LogisticRegression(maxIter=3)]
    pipeline = Pipeline(stages=stages).fit(table)
    expected = [row.prediction for row in pipeline.transform(table).select("prediction").collect()]
    inputs = numbers[["a", "b", "c"]]
    with mlflow.start_run():
        info = mlflow.spark.log_model(
            pipeline,
            "pipeline",
            signature=mlflow.models.infer_signature(inputs, pd.Series(expected)),
            pip_requirements=[],
        )
    before = java()
    model = register("spark_ml", info.model_uri)
    assert score("spark_ml(a, b, c)", inputs, "a double, b double, c double") == expected
    assert len(java() - before) == 1
    model.drop()
    wait_until(lambda: not java() - before)  # the worker's JVM does not outlive it
