# SPDX-License-Identifier: Apache-2.0
"""Names bind in every version: one with its columns in another order gives its own numbers, whoever calls it how."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

import sparkmodel as sm
from tests.cases.sources import of_mlflow

BRIDGE = "spark.sparkmodel.bridge.enabled"
WANTED = [1002.0, 3004.0]


def signature(*names: str) -> ModelSignature:
    return ModelSignature(Schema([ColSpec("double", name) for name in names]), Schema([ColSpec("double")]))


def by_place(frame: pd.DataFrame) -> Any:
    """What a model does whose weights know places only: 1000 for the column that its signature calls a."""
    places = {name: frame.iloc[:, i] for i, name in enumerate(frame.columns)}
    return 1000 * places["a"] + places["b"]


@pytest.fixture(scope="module")
def moved(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A pool of (a, b) that moves to (b, a), and what was made of it before that."""
    homes = [tmp_path_factory.mktemp("version") for _ in range(2)]
    first = of_mlflow(by_place, signature("a", "b"))(homes[0])
    second = of_mlflow(by_place, signature("b", "a"))(homes[1])
    model = sm.register(spark, "ab", first, num_cpus=0.1)
    rows = spark.createDataFrame([(1.0, 2.0), (3.0, 4.0)], "a double, b double").coalesce(1)
    rows.createOrReplaceTempView("ab_rows")
    rows = spark.table("ab_rows")
    made = {
        "transform": model.transform(rows, "p"),
        "columns": rows.select(model("b", "a").alias("p")),
        "own columns": rows.select(model(rows["b"], f.col("a")).alias("p")),
        "aliases": rows.select(model((rows["b"] + 0).alias("B"), f.col("ab_rows.a")).alias("p")),
        "none": rows.select(model().alias("p")),
        **{
            name: spark.sql(f"SELECT {call} AS p FROM ab_rows")
            for name, call in {
                "sql": "ab(b, a)",
                "named": "ML_PREDICT('ab', a => a, b => b)",
                "struct": "ab(struct(*))",
                "star": "ab(*)",
                "empty": "ab()",
            }.items()
        },
    }
    model.update(second)
    yield made
    model.drop()


KINDS = ["transform", "columns", "own columns", "aliases", "none", "sql", "named", "struct", "star", "empty"]


@pytest.mark.parametrize("by_bridge", [True, False], ids=["bridge", "python"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_version_with_its_columns_in_another_order(
    spark: SparkSession, moved: dict[str, DataFrame], kind: str, by_bridge: bool
) -> None:
    spark.conf.set(BRIDGE, str(by_bridge).lower())
    try:
        assert [row.p for row in moved[kind].collect()] == WANTED
        assert [row.p for row in moved[kind].select("p").collect()] == WANTED  # planned anew
    finally:
        spark.conf.unset(BRIDGE)


def test_a_name_in_anothers_place_is_refused_at_the_call(moved: dict[str, DataFrame]) -> None:
    model = sm.get("ab")
    for columns in (("x", "b"), ("a", f.lit(1.0))):  # v2's places are b, a
        with pytest.raises(sm.SparkModelError, match="by its name, and argument"):
            model(*columns)
    with pytest.raises(sm.SparkModelError, match="column 'a' is missing"):
        model("b")


def test_a_stream_that_runs_while_the_version_moves(
    spark: SparkSession, register: Callable[..., sm.Model], tmp_path: pathlib.Path
) -> None:
    for place in ("first", "second", "data"):
        (tmp_path / place).mkdir()
    first = of_mlflow(by_place, signature("a", "b"))(tmp_path / "first")
    second = of_mlflow(by_place, signature("b", "a"))(tmp_path / "second")
    model = register("streamed", first)
    data = str(tmp_path / "data")
    more = spark.createDataFrame([(1.0, 2.0)], "a double, b double").coalesce(1)
    more.write.mode("append").parquet(data)
    source = spark.readStream.schema("a double, b double").parquet(data)
    query = (
        model.transform(source, "p")
        .writeStream.format("memory")
        .queryName("streamed_rows")
        .outputMode("append")
        .start()
    )
    try:
        query.processAllAvailable()
        model.update(second)
        more.write.mode("append").parquet(data)
        query.processAllAvailable()
        assert [row.p for row in spark.table("streamed_rows").collect()] == [1002.0, 1002.0]
    finally:
        query.stop()
        query.awaitTermination()
        spark.catalog.dropTempView("streamed_rows")


def test_models_that_know_their_columns_are_told_with_them(
    spark: SparkSession, register: Callable[..., sm.Model]
) -> None:
    class Knows:
        feature_names_in_ = ("width", "height")

        def predict(self, frame: pd.DataFrame) -> Any:
            assert list(frame.columns) == ["width", "height"]
            return frame["width"] * frame["height"]

    model = register("knows", Knows(), result_type="double")
    assert model.describe()["inputs"] == ["width any", "height any"]
    rows = spark.createDataFrame([(2.0, 3.0, "x")], "height double, width double, note string")
    rows.createOrReplaceTempView("knows_rows")
    for frame in (
        model.transform(rows, "p"),
        rows.select(model().alias("p")),
        rows.select(model("height", "width").alias("p")),
        spark.sql("SELECT knows(height, width) AS p FROM knows_rows"),
        spark.sql("SELECT knows() AS p FROM knows_rows"),
        spark.sql("SELECT knows(*) AS p FROM knows_rows"),
    ):
        assert [row.p for row in frame.collect()] == [6.0]
    with pytest.raises(sm.SparkModelError, match="column 'height' is missing"):
        model.transform(rows.drop("height"))
