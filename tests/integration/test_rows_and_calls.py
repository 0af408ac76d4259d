# SPDX-License-Identifier: Apache-2.0
"""Rows at fault, parameters of a call, vectors, clocks and batch sizes, through Spark SQL."""

from __future__ import annotations

import datetime
import logging
import pathlib
from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from pyspark.errors import PythonException
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from sklearn.linear_model import LinearRegression

import sparkmodel as sm
from sparkmodel.errors import InvalidOptionError, NameTakenError
from tests.integration.registered import log_line
from tests.integration.scripts import wait_until
from tests.models import ErrorModel

Register = Callable[..., sm.Model]


@pytest.mark.fault("F9")
def test_one_poison_row_in_ten_thousand_costs_itself_and_a_few_calls(register: Register, spark: SparkSession) -> None:
    model = register("poison", ErrorModel(), result_type="double", on_error="null")
    frame = spark.range(10_000).coalesce(1).selectExpr("IF(id = 7777, -1D, CAST(id AS DOUBLE)) AS x")
    frame.createOrReplaceTempView("ten_thousand")
    before = model.stats()
    row = spark.sql("SELECT count(poison(x)) AS good, sum(poison(x)) AS s, count(*) AS n FROM ten_thousand").first()
    assert row is not None
    assert (row.good, row.n, row.s) == (9_999, 10_000, sum(range(10_000)) - 7777)
    after = model.stats()
    passes = (after["rows"] - before["rows"]) // 10_000  # Spark may keep the two equal calls apart
    assert after["rows_failed"] - before["rows_failed"] == passes
    extra = after["calls"] - before["calls"] - (after["batches"] - before["batches"])
    assert extra <= passes * 28  # 2 log2(10,000)


def test_a_struct_tells_prediction_error_and_version(register: Register, spark: SparkSession) -> None:
    register("told", ErrorModel(), result_type="double", on_error="struct")
    rows = spark.sql("SELECT p.* FROM (SELECT told(CAST(id AS DOUBLE)) AS p FROM range(-1, 2)) ORDER BY 1").collect()
    assert [(row.prediction, row.version) for row in rows] == [(None, 1), (0.0, 1), (1.0, 1)]
    assert "negative input -1" in rows[0].error
    assert rows[1].error is None


def test_too_many_rows_at_fault_fail_the_query(register: Register, spark: SparkSession) -> None:
    register("strict", ErrorModel(), result_type="double", on_error="null", error_threshold=0.01)
    assert spark.sql("SELECT count(strict(IF(id = 5, -1D, 1D))) AS n FROM range(0, 1000, 1, 1)").first().n == 999
    with pytest.raises(PythonException, match=r"(?s)\[ERROR_THRESHOLD_EXCEEDED\].*negative input"):
        spark.sql("SELECT strict(IF(id % 10 = 5, -1D, 1D)) FROM range(0, 1000, 1, 1)").collect()


def test_a_call_and_a_second_function_may_have_other_ways_of_the_same_pool(
    register: Register, spark: SparkSession
) -> None:
    model = register("plain", ErrorModel(), result_type="double")
    model.register_as(spark, "plain_or_null", on_error="null")
    try:
        frame = spark.createDataFrame([(1.0,), (-1.0,)], "x double")
        assert [row.p for row in frame.select(f.expr("plain_or_null(x)").alias("p")).collect()] == [1.0, None]
        assert [row.p.prediction for row in frame.select(model("x", on_error="struct").alias("p")).collect()] == [
            1,
            None,
        ]
        assert model.predict(pd.DataFrame({"x": [2.0, -1.0]}), on_error="null").isna().tolist() == [False, True]
        with pytest.raises(PythonException, match=r"\[PREDICT_FAILED\]"):
            frame.select(f.expr("plain(x)")).collect()
        with pytest.raises(NameTakenError):
            model.register_as(spark, "abs")
        with pytest.raises(InvalidOptionError, match="on_error"):
            model("x", on_error="ignore")
        assert model.stats()["loads"] == 1
    finally:
        spark.sql("DROP TEMPORARY FUNCTION plain_or_null")


class Power(mlflow.pyfunc.PythonModel):
    """x to the power of the param k."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input["x"] ** params["k"]


def test_params_of_registration_function_and_call(
    mlflow_store: pathlib.Path, register: Register, spark: SparkSession
) -> None:
    frame = pd.DataFrame({"x": [2.0, 3.0]})
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    path = str(mlflow_store / "power")
    signature = infer_signature(frame, frame.x, {"k": 1.0})
    mlflow.pyfunc.save_model(path, python_model=Power(), signature=signature, pip_requirements=["mlflow"])
    model = register("to_power", path, params={"k": 2.0})
    model.register_as(spark, "cube", params={"k": 3})
    try:
        row = spark.sql("SELECT to_power(2D) AS a, cube(2D) AS b").first()
        assert row is not None
        assert (row.a, row.b) == (4.0, 8.0)
        assert spark.range(1).select(model(f.lit(2.0), params={"k": np.float64(4.0)}).alias("p")).first().p == 16.0
        assert model.predict(frame, params={"k": 0.0}).tolist() == [1.0, 1.0]
        with pytest.raises(InvalidOptionError, match=r"param 'kk' of model 'to_power'.*did you mean 'k'"):
            model("x", params={"kk": 1.0})
        with pytest.raises(InvalidOptionError, match="does not take the params"):
            model.predict(frame, params={"k": "text"})
    finally:
        spark.sql("DROP TEMPORARY FUNCTION cube")


def test_vectors_of_spark_ml_are_features(register: Register, spark: SparkSession) -> None:
    points = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [0.0, 1.0, 0.0]})
    line = LinearRegression().fit(points.to_numpy(), points.a * 3 + points.b)
    register("line", line, result_type="double")
    assembled = VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(spark.createDataFrame(points))
    assembled.createOrReplaceTempView("assembled")
    rows = spark.sql("SELECT line(features) AS p, a * 3 + b AS q FROM assembled").collect()
    assert [row.p for row in rows] == pytest.approx([row.q for row in rows])
    mixed = spark.createDataFrame([(Vectors.dense([1.0, 2.0]),), (Vectors.sparse(2, [1], [5.0]),)], ["v"]).coalesce(1)
    assert [row.p for row in mixed.select(f.expr("line(v)").alias("p")).collect()] == pytest.approx([5.0, 5.0])


CLOCKS = [
    datetime.datetime(2024, 11, 3, 1, 30, 0, 123456),  # the clock shows it twice
    datetime.datetime(1969, 7, 20, 20, 17, 40, 1),
    None,
]


def test_instants_keep_their_microsecond_where_the_clocks_are_not_utc(register: Register, spark: SparkSession) -> None:
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        register("same", (lambda: None, lambda _, data: data["t"]), result_type="timestamp")
        register("wall", (lambda: None, lambda _, data: data["t"].dt.tz_localize(None)), result_type="timestamp")
        micros = [1730611800123456, 1730615400123456, -14182940_000_000 + 1, None]  # 1:30 with and without DST
        frame = spark.createDataFrame([(value,) for value in micros], "m bigint").coalesce(1)
        frame = frame.selectExpr("m", "timestamp_micros(m) AS t")
        rows = frame.selectExpr("m", "unix_micros(same(struct(t))) AS p", "unix_micros(wall(struct(t))) AS q").collect()
        assert [row.p for row in rows] == micros
        assert [row.q for row in rows] == [micros[1], micros[1], *micros[2:]]  # the clock alone cannot tell them apart
    finally:
        spark.conf.set("spark.sql.session.timeZone", str(zone))


def test_the_session_that_asks_tells_the_time_zone(register: Register, spark: SparkSession) -> None:
    noon = (lambda: None, lambda _, data: pd.Series([pd.Timestamp("2024-01-01 12:00")] * len(data)))
    register("noon", noon, result_type="timestamp")
    zone = spark.conf.get("spark.sql.session.timeZone")
    try:
        for name in ("Asia/Tokyo", "America/New_York"):
            spark.conf.set("spark.sql.session.timeZone", name)
            row = spark.sql("SELECT noon(id) = TIMESTAMP '2024-01-01 12:00:00' AS same FROM range(1)").first()
            assert row is not None
            assert row.same, name
    finally:
        spark.conf.set("spark.sql.session.timeZone", str(zone))


def test_a_model_sees_no_more_rows_at_once_than_batch_size(register: Register, spark: SparkSession) -> None:
    largest = (lambda: None, lambda _, data: [len(data)] * len(data))
    register("rows_seen", largest, result_type="int", batch_size=512)
    row = spark.sql("SELECT max(rows_seen(id)) AS most, count(rows_seen(id)) AS n FROM range(0, 20000, 1, 2)").first()
    assert row is not None
    assert (row.most, row.n) == (512, 20000)


def test_a_pool_follows_its_alias(mlflow_store: pathlib.Path, register: Register, spark: SparkSession) -> None:
    client = mlflow.MlflowClient()
    log_line("followed", 1)
    log_line("followed", 2)
    client.set_registered_model_alias("followed", "champion", "1")
    model = register("followed", "models:/followed@champion", refresh_s=0.5)

    def answer() -> float:
        row = spark.sql("SELECT followed(10D) AS p").first()
        assert row is not None
        return round(row.p, 6)

    assert answer() == 10
    client.set_registered_model_alias("followed", "champion", "2")
    wait_until(lambda: answer() == 20)
    model.rollback()
    assert answer() == 10
    assert model.stats()["refresh_error"] is None
    with pytest.raises(InvalidOptionError, match="has no name in a registry that could move"):
        sm.register(spark, "still", ErrorModel(), result_type="double", refresh_s=1)


def test_a_model_may_take_record_batches(register: Register, spark: SparkSession) -> None:
    def missing(batch: Any) -> Any:
        import pyarrow as pa

        assert isinstance(batch, pa.RecordBatch), type(batch)
        return batch.column("x").is_null()

    register("is_missing", missing, result_type="boolean", batch_format="pyarrow")
    frame = spark.sql("SELECT * FROM VALUES (1D), (NULL), (DOUBLE('NaN')) AS t(x)").coalesce(1)
    assert [row.p for row in frame.selectExpr("is_missing(struct(x)) AS p").collect()] == [False, True, False]


def test_extra_env_reaches_the_worker(register: Register, spark: SparkSession) -> None:
    def value(data: Any) -> Any:
        import os

        return [os.environ.get("GREETING")] * len(data)

    register("greeting", value, result_type="string", extra_env={"GREETING": "hello"})
    row = spark.sql("SELECT greeting(id) AS g FROM range(1)").first()
    assert row is not None
    assert row.g == "hello"
