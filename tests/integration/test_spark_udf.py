# SPDX-License-Identifier: Apache-2.0
"""Programs for `mlflow.pyfunc.spark_udf`: the same rows whichever package it is imported from, and more from ours."""

from __future__ import annotations

import datetime
import decimal
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t
from sklearn.linear_model import LinearRegression, LogisticRegression

import sparkmodel as sm
from tests.integration import drop_in_models as models
from tests.integration.scripts import wait_until

Udf = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("mlflow_in_daemon")
LONG = DataType.long


def columns(**types: DataType) -> Schema:
    return Schema([ColSpec(type_, name) for name, type_ in types.items()])


@pytest.fixture(scope="module")
def uris(mlflow_store: pathlib.Path) -> dict[str, str]:
    """The models of this module in a real store."""
    x = pd.DataFrame(np.random.default_rng(1).random((40, 2)), columns=["a", "b"])
    number, label = x["a"] * 3 + x["b"], (x["a"] > x["b"]).astype("int64")
    regressor, classifier = LinearRegression().fit(x, number), LogisticRegression().fit(x, label)

    def log(model: Any, inputs: Schema | None, outputs: Schema | None = None, *params: ParamSpec, **more: Any) -> str:
        signature = ModelSignature(inputs, outputs, ParamSchema(list(params)) if params else None) if inputs else None
        options = {"pip_requirements": [], "signature": signature, **more}
        with mlflow.start_run():
            if isinstance(model, mlflow.pyfunc.PythonModel):
                return str(mlflow.pyfunc.log_model(name="m", python_model=model, **options).model_uri)
            return str(mlflow.sklearn.log_model(model, name="m", **options).model_uri)

    ab = columns(a=DataType.double, b=DataType.double)
    optional = Schema([ColSpec(DataType.double, "a"), ColSpec(DataType.double, "b", required=False)])
    doubles = Schema([ColSpec(DataType.double)])
    echo = columns(n=LONG, s=DataType.string, ok=DataType.boolean)
    echoed = columns(n=LONG, s=DataType.string, ok=DataType.boolean, gone=DataType.boolean)
    return {
        "regressor": log(
            regressor, infer_signature(x, regressor.predict(x)).inputs, infer_signature(x, number).outputs
        ),
        "classifier": log(classifier, infer_signature(x).inputs, infer_signature(x, classifier.predict(x)).outputs),
        "forms": log(models.Forms(), columns(kind=DataType.string, n=LONG)),
        "unsigned": log(models.Sum(), None),
        "given": log(models.Given(), None),
        "optional": log(models.Given(), optional, columns(said=DataType.string)),
        "scaled": log(models.Scaled(), ab, doubles, ParamSpec("factor", DataType.double, 1.0)),
        "configured": log(models.Configured(), ab, columns(text=DataType.string), model_config={"greeting": "hello"}),
        "tensor": log(models.Tensor(), Schema([TensorSpec(np.dtype("float64"), (-1, 2))]), doubles),
        "echo": log(models.Echo(), echo, echoed),
        "refused": log(models.Refused(), ab),
    }


@pytest.fixture
def ours(spark: SparkSession) -> Iterator[Udf]:
    """Our function with one worker; its pools are dropped at the end."""
    before = set(sm.models())
    yield functools.partial(sm.spark_udf, workers=1)
    for name in set(sm.models()) - before:
        sm.unregister(spark, name)


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    """Three rows, in the order of `n`."""
    frame = spark.range(3).selectExpr("id AS n", "id / 2 AS a", "CAST(10 - id AS DOUBLE) AS b", "concat('s', id) AS s")
    return frame.coalesce(1)


def answers(frame: DataFrame, column: Column) -> list[Any]:
    return [row.p for row in frame.select(column.alias("p")).collect()]


# the same program for both

Program = Callable[[Udf, SparkSession, DataFrame, dict[str, str]], Any]


def calls(spark_udf: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> Any:
    udf = spark_udf(spark, uris["regressor"])
    spark.udf.register("drop_in_regressor", udf)
    table.createOrReplaceTempView("drop_in_rows")
    return {
        "columns": answers(table, udf(f.col("a"), f.col("b"))),
        "names": answers(table, udf("a", "b")),
        "a struct in another order": answers(table, udf(f.struct("b", "a"))),
        "a struct with more fields": answers(table, udf(f.struct("s", "b", "a"))),
        "more columns than the signature has": answers(table, udf("a", "b", "n")),
        "no columns": answers(table, udf()),
        "SQL": spark.sql("SELECT drop_in_regressor(a, b) AS p FROM drop_in_rows").toPandas()["p"].tolist(),
        "SQL, a struct": [
            row.p for row in spark.sql("SELECT drop_in_regressor(struct(b, a)) p FROM drop_in_rows").collect()
        ],
        "in a filter": table.where(udf("a", "b") > 9.6).count(),
        "integers for doubles": answers(table, udf(f.col("n").cast("int"), "b")),
        "no rows": answers(table.where("n < 0"), udf("a", "b")),
        "type": table.select(udf("a", "b").alias("p")).schema.simpleString(),
        "metadata": (
            udf.metadata.get_input_schema().input_names(),
            udf.metadata.flavors["python_function"]["loader_module"],
        ),
        "udf": (udf.deterministic, udf.returnType),
    }


def without_signature(spark_udf: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> Any:
    udf = spark_udf(spark, uris["unsigned"])
    return {
        "numbers for names": answers(table, udf("a", "b")),
        "names of a struct": answers(table, udf(f.struct("a", "b"))),
        "type": table.select(udf("a", "b").alias("p")).schema.simpleString(),
    }


def arguments(spark_udf: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> Any:
    udf = spark_udf(spark, uris["given"], "string")
    return {
        "structs": answers(table, udf(f.struct("a", "b"), f.struct("s"))),
        "an array": answers(table, udf(f.array("a", "b"))),
        "an array and a number": answers(table, udf(f.array("a", "b"), "n")),
        "text": answers(table, udf("s", "n")),
    }


def optional_columns(spark_udf: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> Any:
    udf = spark_udf(spark, uris["optional"])
    return {
        "both": answers(table, udf("a", "b")),
        "a struct without it": answers(table, udf(f.struct("a"))),
    }


def params(spark_udf: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> Any:
    return {
        "default": answers(table, spark_udf(spark, uris["scaled"])("a", "b")),
        "given": answers(table, spark_udf(spark, uris["scaled"], params={"factor": 3})("a", "b")),
        "unknown": answers(table, spark_udf(spark, uris["scaled"], params={"factor": 3.0, "nonsense": 1})("a", "b")),
    }


def configuration(spark_udf: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> Any:
    path = pathlib.Path(mlflow.get_tracking_uri().removeprefix("sqlite:///")).with_name("config.yml")
    path.write_text("greeting: good morning\n")
    make = functools.partial(spark_udf, spark, uris["configured"])
    return {
        "logged": answers(table, make()()),
        "a mapping": answers(table, make(model_config={"greeting": "good morning"})()),
        "a file": answers(table, make(model_config=str(path))()),
        "environment": answers(table, make(extra_env={"DROP_IN_COLOUR": "blue"})()),
    }


def results(spark_udf: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> Any:
    """What Spark makes of the forms, a batch of three rows of each; NULL where MLflow's pandas has NaN."""
    more = {} if spark_udf is mlflow.pyfunc.spark_udf else {"batch_size": 3}
    found = {}
    for result_type, kinds in {
        "int": ["frame", "small"],
        "double": ["frame", "matrix", "labels", "series", "floats and None", "records", "objects"],
        "string": ["frame", "matrix", "flags", "strings", "objects"],
        "array<double>": ["frame", "matrix", "labels", "dict", "lists", "objects"],
        "n long, x double": ["frame", "records", "dict", "objects"],
        "struct<n: int, inner: struct<a: long>, list: array<float>>": ["objects"],
    }.items():
        rows = [(kind, n) for kind in kinds for n in range(3)]
        frame = spark.createDataFrame(rows, "kind string, n long").coalesce(1)
        found[result_type] = answers(frame, spark_udf(spark, uris["forms"], result_type, **more)())
    return found


def tensors(spark_udf: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> Any:
    return answers(table, spark_udf(spark, uris["tensor"])(f.array("a", "b")))


@pytest.mark.parametrize(
    "program",
    [calls, without_signature, arguments, optional_columns, params, configuration, results, tensors],
    ids=lambda program: program.__name__,
)
def test_a_program_gives_the_same_with_the_import_changed(
    program: Program, ours: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]
) -> None:
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "3")
    try:
        expected = program(mlflow.pyfunc.spark_udf, spark, table, uris)
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert program(ours, spark, table, uris) == expected


# ours alone


def test_types_that_mlflow_refuses(ours: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> None:
    noon = datetime.datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=datetime.timezone.utc)
    result_type = "at timestamp, day date, price decimal(10, 2), raw binary, tags map<string, double>"
    udf = ours(spark, uris["refused"], result_type)
    [row, *_] = answers(table.selectExpr("*", "1 AS one"), udf("a", "b"))
    assert row.asDict() == {
        "at": noon.astimezone().replace(tzinfo=None),
        "day": noon.date(),
        "price": decimal.Decimal("1.10"),
        "raw": bytearray(b"\xff"),
        "tags": {"a": 1.5},
    }
    for refused in ("timestamp", "date", "decimal(10, 2)", "binary", result_type):
        with pytest.raises(mlflow.MlflowException, match="Invalid 'spark_udf' result type"):
            mlflow.pyfunc.spark_udf(spark, uris["refused"], refused)


def test_nulls_reach_the_model_as_missing_values_and_come_back_exact(
    ours: Udf, spark: SparkSession, uris: dict[str, str]
) -> None:
    rows = [(2**63 - 101, "a", True), (None, None, None), (-(2**63), "nan", False)]
    frame = spark.createDataFrame(rows, "n long, s string, ok boolean").coalesce(1)
    found = [tuple(row) for row in answers(frame, ours(spark, uris["echo"])())]
    assert found == [(2**63 - 101, "a", True, False), (None, None, None, True), (-(2**63), "nan", False, False)]
    with pytest.raises(PySparkException, match="MlflowException"):
        answers(frame, mlflow.pyfunc.spark_udf(spark, uris["echo"])())


def test_a_plain_classifier_gives_one_label_for_each_row(
    ours: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]
) -> None:
    udf = ours(spark, uris["classifier"])
    assert udf.returnType == t.LongType()
    labels = answers(table, udf())
    assert set(labels) <= {0, 1}
    theirs = mlflow.pyfunc.spark_udf(spark, uris["classifier"])
    assert theirs.returnType == t.ArrayType(t.LongType())
    assert answers(table, theirs()) == [[label] for label in labels]


def test_a_model_without_output_schema_gives_doubles_with_a_warning(
    ours: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    udf = ours(spark, uris["unsigned"])
    assert udf.returnType == t.DoubleType()
    assert "result_type is taken to be double" in caplog.text


def test_equal_calls_share_one_pool_until_it_is_dropped(
    ours: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    first, other_params = ours(spark, uris["scaled"]), ours(spark, uris["scaled"], params={"nonsense": 1})
    assert "['nonsense'] are ignored" in caplog.text
    assert first.model is other_params.model
    assert answers(table, first("a", "b")) == answers(table, other_params("a", "b"))
    assert first.model.stats()["loads"] == 1
    assert ours(spark, uris["scaled"], "float").model.name != first.model.name

    first.model.drop()
    again = ours(spark, uris["scaled"])
    assert again.model.name != first.model.name
    assert answers(table, again("a", "b")) == [0.0, 0.5, 1.0]
    with pytest.raises(PySparkException, match="POOL_GONE"):
        answers(table, first("a", "b"))

    again.model.update(uris["regressor"])
    assert ours(spark, uris["scaled"]).model.name != again.model.name, "it answers with another model now"


def test_an_alias_is_followed(ours: Udf, spark: SparkSession, table: DataFrame, mlflow_store: pathlib.Path) -> None:
    client = mlflow.MlflowClient()
    signature = ModelSignature(columns(a=DataType.double), Schema([ColSpec(DataType.double)]))
    for number in (1.0, 2.0):
        with mlflow.start_run():
            mlflow.pyfunc.log_model(
                name="m",
                python_model=models.Version(number),
                signature=signature,
                registered_model_name="drop_in_moving",
                pip_requirements=[],
            )
    client.set_registered_model_alias("drop_in_moving", "champion", 1)
    udf = ours(spark, "models:/drop_in_moving@champion", refresh_s=0.5)
    assert answers(table, udf("a")) == [1.0] * 3

    client.set_registered_model_alias("drop_in_moving", "champion", 2)
    wait_until(lambda: bool(answers(table, udf("a")) == [2.0] * 3))
    udf.model.rollback()
    looks = iter(range(10))
    wait_until(lambda: answers(table, udf("a")) == [1.0] * 3 and next(looks) == 9)  # it stays
    assert ours(spark, "models:/drop_in_moving@champion").model.name != udf.model.name


def test_the_defaults_reserve_nothing_and_ask_for_no_more_workers_than_cpus(
    spark: SparkSession, table: DataFrame, uris: dict[str, str], ours: Udf
) -> None:
    udf = sm.spark_udf(spark, uris["regressor"])
    options = udf.model.describe()["options"]
    assert (options["workers"], options["num_cpus"]) == (4, 0)
    assert len(answers(table, udf())) == 3


@pytest.mark.parametrize(
    ("options", "condition", "fact"),
    [
        ({"env_manager": "conda"}, "INVALID_OPTION", "conda is not supported"),
        ({"prebuilt_env_uri": "dbfs:/env"}, "INVALID_OPTION", "Databricks"),
        ({"result_type": "doubel"}, "INVALID_OPTION", "'doubel' is not a Spark type"),
        ({"name": "f"}, "INVALID_OPTION", "no such pool option"),
        ({"batch_format": "pyarrow", "params": {"factor": "x"}}, "INVALID_OPTION", "factor"),
        ({"model_uri": "models:/nobody@champion"}, "MODEL_NOT_FOUND", "nobody"),
        ({"model_uri": "python:os:getcwd"}, "UNSUPPORTED_SOURCE", "no MLflow model"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    options: dict[str, Any], condition: str, fact: str, ours: Udf, spark: SparkSession, uris: dict[str, str]
) -> None:
    with pytest.raises(sm.SparkModelError, match=fact) as caught:
        ours(spark, **{"model_uri": uris["scaled"], **options})
    assert caught.value.condition == condition


def test_bad_calls_are_errors_before_any_row_is_scored(
    ours: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]
) -> None:
    udf = ours(spark, uris["regressor"])
    with pytest.raises(sm.SparkModelError, match=r"SCHEMA_MISMATCH.*column 'b' is missing"):
        answers(table, udf("a"))
    with pytest.raises(PySparkException, match=r"SCHEMA_MISMATCH.*column 'b' is missing"):
        answers(table, udf(f.struct("a", "n")))
    with pytest.raises(PySparkException, match="SCHEMA_MISMATCH"):
        answers(table, udf("a", "s"))
    assert udf.model.stats()["rows"] == 0
    answered = answers(table, udf(f.col("n").cast("double"), "b"))
    assert answers(table, udf("n", "b")) == answered, "BIGINT, of which MLflow takes 0 and 1 only"
    assert answers(table, udf(f.array("n", "b"))) == answered, "one array, which MLflow refuses"
    for uri in ("unsigned", "optional"):
        with pytest.raises(sm.SparkModelError, match="no columns were given"):
            ours(spark, uris[uri])()


def test_a_lossy_result_is_an_error(ours: Udf, spark: SparkSession, table: DataFrame, uris: dict[str, str]) -> None:
    frame = table.select(f.lit("floats").alias("kind"), "n")
    with pytest.raises(PySparkException, match="WRONG_RESULT_TYPE"):
        answers(frame, ours(spark, uris["forms"], "struct<x: int>")())
    frame = table.select(f.lit("frame").alias("kind"), "n")
    truncated = answers(frame, mlflow.pyfunc.spark_udf(spark, uris["forms"], "struct<x: int>")())
    assert [row.x for row in truncated] == [0, 1, 2], "of 0.25, 1.25 and 2.25"
