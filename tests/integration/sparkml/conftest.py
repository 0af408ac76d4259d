# SPDX-License-Identifier: Apache-2.0
"""Rows, saved models, and ways to make functions of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.ml import Pipeline, PipelineModel, classification, feature
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

Register = Callable[..., Any]
ROWS = 60
_numbers = itertools.count()


@pytest.fixture(scope="module")
def data(spark: SparkSession) -> DataFrame:
    """Numbers, a word, two labels, and the numbers as a vector; not of one partition."""
    numbers = spark.range(ROWS, numPartitions=2).selectExpr(
        "id",
        "cast(id % 7 AS double) AS a",
        "cast(id % 11 AS int) AS b",
        "elt(1 + id % 3, 'red', 'green', 'blue') AS word",
        "cast(id % 5 < 2 AS double) AS label",
        "cast(id % 7 + 0.5 * (id % 11) AS double) AS amount",
    )
    return numbers.withColumn("features", array_to_vector(F.array("a", F.col("b").cast("double")))).cache()


@pytest.fixture(scope="module")
def register(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Register:
    """Saves a model, makes it a function under a new name, and gives the name and what was loaded.

    A model is saved once, which takes more jobs than all else.
    """
    saved: dict[int, tuple[Any, str]] = {}  # the models too: else another one may come to be where one was

    def register_(model: Any, **options: str) -> tuple[str, Any]:
        name = f"m{next(_numbers)}"
        if id(model) not in saved:
            path = str(tmp_path_factory.mktemp("saved") / name)
            model.save(path)
            saved[id(model)] = model, path
        return name, load(spark, name, saved[id(model)][1], **options)

    return register_


def load(spark: SparkSession, name: str, path: str, **options: str) -> Any:
    """What `SparkMl.register` gives."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    module = jvm.io.sparkmodel.sparkml.SparkMl
    return module.register(spark._jsparkSession, name, path, jvm.PythonUtils.toScalaMap(options))


def refused(action: Callable[..., object], *arguments: Any, **options: str) -> str:
    """The message of the error that is raised."""
    with pytest.raises(Exception, match=r"\[[A-Z_]+\] Cannot ") as caught:
        action(*arguments, **options)
    if isinstance(caught.value, Py4JJavaError):
        return str(caught.value.java_exception.getMessage())
    return str(caught.value).split("\n")[0]


@pytest.fixture(scope="module")
def pipeline(data: DataFrame) -> PipelineModel:
    stages: list[Any] = [
        feature.StringIndexer(inputCol="word", outputCol="index", handleInvalid="keep"),
        feature.OneHotEncoder(inputCol="index", outputCol="encoded"),
        feature.VectorAssembler(inputCols=["a", "b", "encoded"], outputCol="assembled", handleInvalid="keep"),
        feature.StandardScaler(inputCol="assembled", outputCol="features"),
        classification.RandomForestClassifier(numTrees=4, seed=1),
    ]
    return Pipeline(stages=stages).fit(data.drop("features"))
