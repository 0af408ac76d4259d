# SPDX-License-Identifier: Apache-2.0
"""Real models of real frameworks, logged the way users log them, against what the framework itself predicts."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from pyspark.sql import SparkSession

Score = Callable[..., list[Any]]

ROWS = 300


@pytest.fixture(scope="session")
def numbers() -> pd.DataFrame:
    """Doubles."""
    return pd.DataFrame(np.random.default_rng(3).random((ROWS, 4)), columns=list("abcd"))


@pytest.fixture(scope="session")
def log(mlflow_store: pathlib.Path) -> Callable[..., str]:
    """Log a model by a flavor's own `log_model`, with the signature of an input and an output; gives its URI.

    Its requirements are given: to find them out MLflow loads the model in a process of its own, which takes longer than
    all the rest of a test.
    """

    def log_(flavor: Any, model: Any, data: Any, prediction: Any, **options: Any) -> str:
        options = {"signature": infer_signature(data, prediction), "pip_requirements": [], **options}
        with mlflow.start_run():
            info = flavor.log_model(model, name="model", **options)
        return str(info.model_uri)

    return log_


@pytest.fixture(scope="session")
def score(spark: SparkSession) -> Score:
    """Evaluate a SQL expression over the rows of a pandas frame, and give its values in the frame's order.

    Missing values of the frame, NaN included, are NULL in the table.
    """

    def score_(expression: str, frame: pd.DataFrame, types: str) -> list[Any]:
        columns = [[None if missing(v) else plain(v) for v in frame[name]] for name in frame]
        rows = list(zip(range(len(frame)), *columns, strict=True))
        table = spark.createDataFrame(rows, f"id int, {types}").repartition(2)
        table.createOrReplaceTempView("given")
        found = table.selectExpr("id", f"{expression} AS p").collect()
        assert len(found) == len(frame)
        return [row.p for row in sorted(found, key=lambda row: row.id)]

    return score_


def missing(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value)


def plain(value: Any) -> Any:
    """What Spark takes: Python's numbers, dates and lists instead of numpy's and pandas'."""
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
