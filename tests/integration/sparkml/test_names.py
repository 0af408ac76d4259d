# SPDX-License-Identifier: Apache-2.0
"""Models of Spark ML are called, shown and changed as all models are."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from pyspark.errors import AnalysisException
from pyspark.ml import Pipeline, feature, regression
from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def places(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two saved models of (a, b): one gives 1000 a + b, the other the negative."""
    rows = spark.createDataFrame(
        [(float(a), float(b), 1000.0 * a + b) for a in range(3) for b in range(3)], "a double, b double, y double"
    )
    made = []
    for sign in (1, -1):
        path = str(tmp_path_factory.mktemp("linear") / "model")
        assembler = feature.VectorAssembler(inputCols=["a", "b"], outputCol="features")
        linear = regression.LinearRegression(labelCol="y", solver="normal")
        Pipeline(stages=[assembler, linear]).fit(rows.withColumn("y", sign * rows.y)).save(path)
        made.append(path)
    spark.createDataFrame([("x", 2.0, 1.0)], "id string, b double, a double").createOrReplaceTempView("ml_rows")
    yield made
    spark.catalog.dropTempView("ml_rows")


@pytest.fixture(scope="module", params=["TEMPORARY ", ""], ids=["temporary", "global"])
def lr(request: pytest.FixtureRequest, spark: SparkSession, places: list[str]) -> Iterator[str]:
    spark.sql(f"CREATE {request.param}MODEL lr USING sparkml LOCATION '{places[0]}'")
    yield "lr"
    spark.sql("DROP MODEL lr FORCE")


@pytest.mark.parametrize(
    "call",
    [
        "lr(b, a)",
        "lr(a, b)",
        "lr(a => a, b => b)",
        "lr(B => b, A => a)",
        "lr(a + 0, b + 0)",
        "lr(*)",
        "lr()",
        "lr(struct(b, a))",
        "lr(struct(*))",
        "lr(named_struct('b', b, 'a', a))",
        "ML_PREDICT('lr', b, a)",
        "ML_PREDICT(MODEL lr, *)",
        "ML_PREDICT('lr')",
    ],
)
def test_every_form_of_a_call_binds_by_name(spark: SparkSession, lr: str, call: str) -> None:
    (row,) = spark.sql(f"SELECT {call} AS p FROM ml_rows").collect()
    assert row.p == pytest.approx(1002.0)


def test_a_table_and_a_struct_column(spark: SparkSession, lr: str) -> None:
    (row,) = spark.sql("SELECT prediction AS p FROM ML_PREDICT(TABLE ml_rows, MODEL lr)").collect()
    assert row.p == pytest.approx(1002.0)
    (row,) = spark.sql("SELECT lr(s) AS p FROM (SELECT struct(b, a) AS s FROM ml_rows)").collect()
    assert row.p == pytest.approx(1002.0)


@pytest.mark.parametrize(
    ("call", "fact"),
    [
        ("lr(b, 1D)", "by its name, and argument 1"),
        ("lr(a => a)", "column 'b' is missing"),
        ("lr(a => a, c => b)", "it has no input 'c'"),
        ("lr(a => a, b)", "name all of them"),
        ("lr(a)", "column 'b' is missing"),
    ],
)
def test_what_does_not_bind_is_refused(spark: SparkSession, lr: str, call: str, fact: str) -> None:
    with pytest.raises(AnalysisException, match=rf"^\[SCHEMA_MISMATCH\] Cannot call model 'lr': .*{fact}"):
        spark.sql(f"SELECT {call} FROM ml_rows")


def test_it_is_shown_described_and_changed(spark: SparkSession, lr: str, places: list[str]) -> None:
    def predicted() -> float:
        return float(spark.sql("SELECT lr(b, a) AS p FROM ml_rows").head().p)  # type: ignore[union-attr]

    assert ("lr", "ready") in [(row.name, row.state) for row in spark.sql("SHOW MODELS LIKE 'l*'").collect()]
    told = {row.info_name: row.info_value for row in spark.sql("DESCRIBE MODEL lr").collect()}
    assert told["Input a"] == "DOUBLE"
    assert pathlib.Path(told["Source"]) == pathlib.Path(places[0])
    (row,) = spark.sql("SHOW CREATE MODEL lr").collect()
    assert places[0] in row.createmodel_stmt
    spark.sql(f"ALTER MODEL lr SET LOCATION '{places[1]}'")
    assert predicted() == pytest.approx(-1002.0)
    spark.sql(f"ALTER MODEL lr SET LOCATION '{places[0]}'")
    assert predicted() == pytest.approx(1002.0)
    with pytest.raises(AnalysisException, match=r"\[UNSUPPORTED_SOURCE\] Cannot alter model 'lr'.*without a pool"):
        spark.sql("ALTER MODEL lr SCALE TO 2")
