# SPDX-License-Identifier: Apache-2.0
"""Programs written for MLflow's and PySpark's own functions, with nothing but the imports changed, on every session."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature

from tests.integration.programs import run_all
from tests.integration.registered import of_code

PROGRAM = """
    import json
    import mlflow
    import numpy as np
    from {mlflow} import spark_udf
    from {pyspark} import predict_batch_udf
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import struct
    from pyspark.sql.types import ArrayType, DoubleType, StructField, StructType

    def show(label, ways):
        print("RESULT", label, json.dumps([sorted(tuple(row) for row in way.collect()) for way in ways]))

    def score(spark, model_uri):
        predict = spark_udf(spark, model_uri, result_type="double")
        frame = spark.range(0, 900, numPartitions=2).selectExpr("id", "id / 7 AS a", "CAST(id % 5 AS DOUBLE) AS b")
        frame.createOrReplaceTempView("t")
        spark.udf.register("predict", predict)
        ways = [
            frame.select("id", predict("a", "b").alias("p")),
            frame.select("id", predict(struct("b", "a")).alias("p")),
            frame.withColumn("p", predict()).where("p > 10").select("id", "p"),
            spark.sql("SELECT id, predict(a, b) AS p FROM t"),
        ]
        show("spark_udf", ways)
        print("RESULT names", json.dumps(predict.metadata.get_input_schema().input_names()))

    def make_predict():
        weights = np.array([[1.0, 0.5], [0.25, 2.0]])
        def predict(v, x):
            return {{"both": v @ weights, "rows": np.full(len(x), len(x), dtype="float64"), "x": x * 2}}
        return predict

    def score_batches(spark):
        fields = [("both", ArrayType(DoubleType())), ("rows", DoubleType()), ("x", DoubleType())]
        predict = predict_batch_udf(
            make_predict,
            return_type=StructType([StructField(*field) for field in fields]),
            batch_size=100,
            input_tensor_shapes=[[2], None],
        )
        frame = spark.range(0, 900, numPartitions=2).selectExpr("id", "array(id / 7, id / 3) AS v", "id / 2 AS x")
        frame.createOrReplaceTempView("t")
        spark.udf.register("predict", predict)
        ways = [
            frame.select("id", predict("v", "x").alias("p")).select("id", "p.both", "p.rows", "p.x"),
            spark.sql("SELECT id, p.both, p.rows, p.x FROM (SELECT id, predict(v, x) AS p FROM t)"),
        ]
        show("predict_batch_udf", ways)

    if __name__ == "__main__":
        store, model_uri = {arguments}
        mlflow.set_tracking_uri(store)
        spark = SparkSession.builder{builder}.getOrCreate()
        score(spark, model_uri)
        score_batches(spark)
        spark.stop()
"""

LOCAL = '.master("local[2]")'
CONNECT = '.remote("local[2]")'


@pytest.fixture(scope="module")
def stored(mlflow_store: pathlib.Path) -> tuple[str, str]:
    """The store and a model in it."""
    frame = pd.DataFrame({"a": [1.0, 3.0], "b": [2.0, 4.0]})
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(name="m", **of_code("wine.py", infer_signature(frame, frame["a"]), factor=3))
    return mlflow.get_tracking_uri(), str(logged.model_uri)


@pytest.fixture(scope="module")
def shown(
    stored: tuple[str, str], tmp_path_factory: pytest.TempPathFactory, standalone: str
) -> dict[str, dict[str, Any]]:
    """What the program prints as it was written, and with the imports changed on each session.

    The Python of Spark's workers is the environment's business, as before.
    """
    original, changed = ("mlflow.pyfunc", "pyspark.ml.functions"), ("sparkmodel", "sparkmodel")
    programs = {
        "original": (LOCAL, original),
        "local": (LOCAL, changed),
        "standalone": (f'.master("{standalone}").config("spark.executor.memory", "1g")', changed),
        "connect": (CONNECT, changed),
    }
    codes = {
        name: PROGRAM.format(mlflow=modules[0], pyspark=modules[1], builder=builder, arguments=repr(stored))
        for name, (builder, modules) in programs.items()
    }
    said = run_all(codes, tmp_path_factory.mktemp("drop_in"), {"PYSPARK_PYTHON": sys.executable})
    return {name: results(text) for name, text in said.items()}


def results(said: str) -> dict[str, Any]:
    """By their labels; all that was said if they are not complete."""
    lines = [line.split(" ", 2) for line in said.splitlines() if line.startswith("RESULT ")]
    found = {label: json.loads(text) for _, label, text in lines}
    return found if list(found) == ["spark_udf", "names", "predict_batch_udf"] else {"said": said}


@pytest.mark.slow
@pytest.mark.parametrize("session", ["local", "standalone", "connect"])
def test_only_the_imports_are_changed(session: str, shown: dict[str, dict[str, Any]]) -> None:
    assert "said" not in shown["original"], shown["original"]
    assert shown[session] == shown["original"]
