# SPDX-License-Identifier: Apache-2.0
"""The model as a function: SQL, DataFrame API, argument forms, types."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from pyspark.errors import AnalysisException, PythonException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from sklearn.linear_model import LinearRegression

import sparkmodel as sm
from sparkmodel.errors import SchemaMismatchError
from tests import python_daemon
from tests.models import DoubleModel

ROWS = 1000
FRAME = pd.DataFrame(np.random.default_rng(7).random((ROWS, 3)), columns=["a", "b", "c"])
EXPECTED = FRAME["a"] * 2 + FRAME["b"] - FRAME["c"] * 3


@pytest.fixture(scope="module")
def linear_uri(mlflow_store: object) -> str:
    estimator = LinearRegression().fit(FRAME, EXPECTED)
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            estimator,
            name="model",
            signature=infer_signature(FRAME, estimator.predict(FRAME)),
            input_example=FRAME.head(2),
            registered_model_name="linear",
            pip_requirements=["scikit-learn"],  # to find them out, a process of its own loads the model
        )
    mlflow.MlflowClient().set_registered_model_alias("linear", "champion", "1")
    return "models:/linear@champion"


@pytest.fixture(scope="module")
def linear(spark: SparkSession, linear_uri: str) -> Iterator[sm.Model]:
    model = sm.register(spark, "linear", linear_uri, workers=2, num_cpus=0.5)
    yield model
    model.drop()


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    frame = spark.createDataFrame(FRAME.reset_index(names="id")).repartition(4).cache()
    frame.createOrReplaceTempView("points")
    return frame


def by_id(frame: DataFrame) -> list[float]:
    rows = frame.select("id", "p").collect()
    assert len(rows) == ROWS
    return [row.p for row in sorted(rows, key=lambda row: row.id)]


@pytest.mark.parametrize(
    "call",
    [
        "linear(a, b, c)",
        "linear(struct(a, b, c))",
        "linear(struct(c, a, b))",
        "linear(named_struct('c', c, 'extra', id, 'b', b, 'a', a))",
        "linear(array(a, b, c))",
        "linear(cast(a as decimal(38, 30)), b, c)",
    ],
)
def test_sql_takes_columns_a_struct_or_an_array(linear: sm.Model, table: DataFrame, call: str) -> None:
    spark = table.sparkSession
    np.testing.assert_allclose(by_id(spark.sql(f"SELECT id, {call} AS p FROM points")), EXPECTED)
    np.testing.assert_allclose(by_id(table.selectExpr("id", f"{call} AS p")), EXPECTED)


def test_result_type_comes_from_the_signature(linear: sm.Model, table: DataFrame) -> None:
    assert table.selectExpr("linear(a, b, c) AS p").schema["p"].dataType.simpleString() == "double"


def test_names_in_python_are_bound_by_name(linear: sm.Model, table: DataFrame) -> None:
    np.testing.assert_allclose(by_id(table.withColumn("p", linear("c", "a", "b"))), EXPECTED)


def test_columns_in_python_are_bound_by_position(linear: sm.Model, table: DataFrame) -> None:
    shown = table.withColumn("p", linear(f.col("a"), f.col("b"), f.col("c") * 1))
    np.testing.assert_allclose(by_id(shown), EXPECTED)


def test_transform_adds_a_column_and_ignores_columns_that_the_model_does_not_take(
    linear: sm.Model, table: DataFrame
) -> None:
    shown = linear.transform(table, output_col="p")
    assert shown.columns == ["id", "a", "b", "c", "p"]
    np.testing.assert_allclose(by_id(shown), EXPECTED)


def test_where_join_order_and_aggregate(linear: sm.Model, table: DataFrame, spark: SparkSession) -> None:
    passing = EXPECTED[EXPECTED > 1]
    rows = spark.sql(
        "SELECT id, linear(a, b, c) AS p FROM points WHERE linear(a, b, c) > 1 ORDER BY linear(a, b, c), id"
    ).collect()
    assert [row.id for row in rows] == passing.sort_values().index.tolist()
    joined = spark.sql(
        "SELECT count(*) AS n, sum(linear(l.a, r.b, l.c)) AS s FROM points l JOIN points r ON l.id = r.id"
    ).first()
    assert joined is not None
    assert joined.n == ROWS
    assert joined.s == pytest.approx(EXPECTED.sum())


def test_two_models_in_one_projection_and_one_over_the_other(
    linear: sm.Model, table: DataFrame, register: Callable[..., sm.Model]
) -> None:
    register("twice", DoubleModel(), result_type="double")
    rows = table.selectExpr("id", "twice(linear(a, b, c)) AS p", "twice(a) AS q").collect()
    for row in rows:
        assert row.p == pytest.approx(2 * EXPECTED[row.id])
        assert row.q == pytest.approx(2 * FRAME["a"][row.id])


def test_empty_frame_and_empty_partitions(linear: sm.Model, table: DataFrame) -> None:
    before = linear.stats()["batches"]
    assert table.where("id < 0").selectExpr("linear(a, b, c) AS p").collect() == []
    assert linear.stats()["batches"] == before
    scattered = table.where("id = 5").repartition(8).selectExpr("linear(a, b, c) AS p").collect()
    assert [row.p for row in scattered] == [pytest.approx(EXPECTED[5])]
    assert linear.stats()["batches"] == before + 1


def test_same_values_without_spark(linear: sm.Model) -> None:
    from_pandas = linear.predict(FRAME[["c", "b", "a"]].set_index(FRAME.index + 100))
    assert from_pandas.index[0] == 100
    np.testing.assert_allclose(from_pandas, EXPECTED)
    from_arrow = linear.predict(pa.Table.from_pandas(FRAME))
    np.testing.assert_allclose(from_arrow, EXPECTED)
    from_rows = linear.predict(FRAME.head(3).to_dict("records"))
    assert from_rows == pytest.approx(EXPECTED.head(3).tolist())
    assert linear.predict([{"a": 1, "b": 2, "c": 3}]) == [pytest.approx(-5.0)]
    assert linear.predict(FRAME.head(0)).tolist() == []


def test_alias_is_settled_to_a_version(linear: sm.Model) -> None:
    assert linear.describe()["resolved"] == "models:/linear/1"
    assert linear.describe()["source"] == "models:/linear@champion"


@pytest.mark.parametrize("form", ["runs", "version", "latest", "directory"])
def test_every_mlflow_uri(linear_uri: str, register: Callable[..., sm.Model], form: str, spark: SparkSession) -> None:
    version = mlflow.MlflowClient().get_model_version("linear", "1")
    uri = {
        "runs": f"runs:/{version.run_id}/model",
        "version": "models:/linear/1",
        "latest": "models:/linear/latest",
        "directory": mlflow.artifacts.download_artifacts("models:/linear/1"),
    }[form]
    register("by_uri", uri)
    assert spark.sql("SELECT by_uri(1D, 2D, 3D) AS p").first().p == pytest.approx(-5.0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("call", "fact"),
    [
        (
            "linear(a, b)",
            r"column 'c' is missing; .* \(a DOUBLE, b DOUBLE, c DOUBLE\), given are \['a', 'b'\]",
        ),
        ("linear(a + 1, b)", r"takes 3 columns \(a DOUBLE, b DOUBLE, c DOUBLE\), given are 2"),
        ("linear(struct(a, b, c AS cc))", r"column 'c' is missing.*did you mean 'cc'"),
        ("linear(a, b, 'text')", "column 'c' is STRING, the model takes DOUBLE"),
    ],
)
def test_misfitting_columns_fail_when_the_query_is_analysed(
    linear: sm.Model, table: DataFrame, call: str, fact: str
) -> None:
    with pytest.raises(AnalysisException, match=rf"^\[SCHEMA_MISMATCH\] Cannot call model 'linear': .*{fact}"):
        table.selectExpr(f"{call} AS p")


def test_an_array_of_another_length_fails_before_a_row_is_scored(linear: sm.Model, table: DataFrame) -> None:
    before = linear.stats()["rows"]
    fact = r"the model takes 3 columns \(a, b, c\), the array has 2 elements"
    with pytest.raises(PythonException, match=rf"(?s)\[SCHEMA_MISMATCH\] Cannot score with 'linear': .*{fact}"):
        table.selectExpr("linear(array(a, b)) AS p").collect()
    assert linear.stats()["rows"] == before


def test_local_data_that_does_not_fit(linear: sm.Model) -> None:
    with pytest.raises(SchemaMismatchError, match="column 'c' is missing"):
        linear.predict([{"a": 1.0, "b": 2.0}])
    with pytest.raises(SchemaMismatchError, match="the input is a str"):
        linear.predict("text")
    with pytest.raises(SchemaMismatchError, match="column 'c' is missing"):
        linear("a", "b")


def test_a_call_without_columns_takes_those_of_the_signature(linear: sm.Model, table: DataFrame) -> None:
    assert table.select(linear().alias("p")).collect() == table.select(linear("a", "b", "c").alias("p")).collect()


def test_a_frame_that_does_not_fit_is_refused_before_spark_runs_anything(linear: sm.Model, table: DataFrame) -> None:
    missing = r"column 'c' is missing.*given are \['id', 'a', 'b', 'cc'\].*did you mean 'cc'"
    with pytest.raises(SchemaMismatchError, match=missing):
        linear.transform(table.withColumnRenamed("c", "cc"))
    with pytest.raises(SchemaMismatchError, match="column 'b' is string, the model takes double"):
        linear.transform(table.withColumn("b", f.lit("text")))


VALUES = {
    "bigint": [9223372036854775707, None, -1],
    "double": [1.5, float("inf"), float("nan")],  # a NULL reaches pandas as NaN
    "string": ["é", None, ""],
    "boolean": [True, None, False],
    "date": [datetime.date(2013, 1, 1), None, datetime.date(1969, 7, 20)],
    "timestamp": [datetime.datetime(2013, 1, 1, 12, 0, 0, 123456), None, datetime.datetime(1969, 7, 20)],
    "array<int>": [[1, 2], None, []],
}


@pytest.mark.parametrize("type_", VALUES)
def test_values_come_back_as_they_went(type_: str, register: Callable[..., sm.Model], spark: SparkSession) -> None:
    register("echo", (lambda: None, lambda _, data: data["v"]), result_type=type_)
    frame = spark.createDataFrame([(value,) for value in VALUES[type_]], f"v {type_}").coalesce(1)
    rows = frame.select("v", f.expr("echo(struct(v))").alias("p")).collect()
    assert [repr(row.p) for row in rows] == [repr(row.v) for row in rows]


@pytest.mark.usefixtures("python_path")
@pytest.mark.fault("F22")
def test_worker_process_imports_nothing_heavy_and_keeps_its_connections(
    linear: sm.Model, spark: SparkSession, table: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks into the very process that forwarded: the local session reuses its Python workers."""
    # Spark takes idle workers in turn; of an environment that no other test has there are only those of this one
    monkeypatch.setitem(spark.sparkContext.environment, python_daemon.BARE, "1")

    def inspect(rows: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import os
        import sys

        from sparkmodel.wire import client

        heavy = [name for name in ("ray", "mlflow", "pandas", "sklearn") if name in sys.modules]
        ends = [
            connection._sock.getsockname()[1]
            for known in client._clients._clients.values()
            for route in known._router.routes.values()
            for connection in route.idle
        ]
        for batch in rows:
            yield pa.RecordBatch.from_pylist([{"pid": os.getpid(), "heavy": str(heavy), "ends": str(sorted(ends))}])
            del batch

    def look() -> dict[int, tuple[str, str]]:
        table.select(f.sum(linear("a", "b", "c"))).collect()
        rows = spark.range(2, numPartitions=2).mapInArrow(inspect, "pid long, heavy string, ends string").collect()
        return {row.pid: (row.heavy, row.ends) for row in rows}

    first, second = look(), look()
    shared = set(first) & set(second)
    assert shared
    for pid in shared:
        assert first[pid][0] == "[]"
        assert first[pid][1] != "[]"
        assert set(eval(first[pid][1])) & set(eval(second[pid][1]))
