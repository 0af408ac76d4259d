# SPDX-License-Identifier: Apache-2.0
"""The session that generated plans run in, and the ways to run one."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

import sparkmodel as sm
from tests.fuzz.plans import Plan

ROWS = 240
MANY = 3000
BRIDGE = "spark.sparkmodel.bridge.enabled"
NO_RULE = {"spark.sql.optimizer.excludedRules": "io.sparkmodel.plan.ScoreOnce"}
WAYS: dict[str, dict[str, str]] = {
    "Python path without rules": {BRIDGE: "false", **NO_RULE},
    "bridge": {},
    "bridge without rules": NO_RULE,
    "Python path": {BRIDGE: "false"},
}


def minus_50(_: None, data: pd.DataFrame) -> pd.Series:
    return data.iloc[:, 0].astype("float64").fillna(7.0) - 50  # a NULL does not give NULL


def twice(_: None, data: pd.DataFrame) -> pd.Series:
    return data.iloc[:, 0].astype("float64").fillna(-1.0) * 2


def register_functions(spark: SparkSession) -> None:
    """Python functions of every kind that others bring; each adds 1."""

    def plus_iter(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for batch in batches:
            yield batch + 1

    plus_iter.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[pd.Series]}

    def plus_pandas(batch: pd.Series) -> pd.Series:
        return batch + 1

    plus_pandas.__annotations__ = {"batch": pd.Series, "return": pd.Series}

    def plus_arrow(batch: pa.Array) -> pa.Array:
        return pc.add(batch, 1.0)

    plus_arrow.__annotations__ = {"batch": pa.Array, "return": pa.Array}
    spark.udf.register("plus", f.udf(lambda x: None if x is None else x + 1, "double"))
    spark.udf.register("plus_pandas", f.pandas_udf(plus_pandas, "double"))
    spark.udf.register("plus_arrow", f.arrow_udf(plus_arrow, "double"))
    spark.udf.register("plus_iter", f.pandas_udf(plus_iter, "double"))


@contextlib.contextmanager
def tables(spark: SparkSession, home: pathlib.Path) -> Iterator[None]:
    """The tables, models and functions that plans name."""
    models = [
        sm.register(spark, name, (lambda: None, predict), result_type="double", num_cpus=0.5)
        for name, predict in [("f", minus_50), ("g", twice)]
    ]
    register_functions(spark)
    rows = spark.range(ROWS, numPartitions=2).selectExpr(
        "id", "if(id % 17 = 5, NULL, cast(id AS double)) AS x", "if(id % 23 = 2, NULL, id % 10) AS k"
    )
    rows.write.parquet(str(home / "stored"))
    spark.read.parquet(str(home / "stored")).createOrReplaceTempView("stored")
    many = spark.range(MANY).selectExpr("id", "cast(id % 300 AS double) AS x", "id % 10 AS k")
    many.repartition(3, "k").write.parquet(str(home / "many"))
    spark.read.parquet(str(home / "many")).createOrReplaceTempView("many_files")
    spark.createDataFrame(rows.collect(), rows.schema).createOrReplaceTempView("rows")
    cached = spark.read.parquet(str(home / "stored")).cache()
    cached.createOrReplaceTempView("cached")
    spark.range(10).selectExpr("id AS k", "cast(id AS double) AS y").write.parquet(str(home / "d"))
    spark.read.parquet(str(home / "d")).createOrReplaceTempView("d")
    arrs = spark.range(60).selectExpr("id", "id % 10 AS k", "transform(sequence(1, id % 3 + 1), i -> i * 30D) AS arr")
    arrs.write.parquet(str(home / "arrs"))
    spark.read.parquet(str(home / "arrs")).createOrReplaceTempView("arrs")
    try:
        yield
    finally:
        cached.unpersist()
        for model in models:
            model.drop()


def outcome(spark: SparkSession, plan: Plan, way: str) -> tuple[str, Any]:
    """The rows of a query in some order, or the first line of its error."""
    changed = {**plan.settings, **WAYS[way]}
    for key, value in changed.items():
        spark.conf.set(key, value)
    try:
        # -0.0 and 0.0 are one value to a join or a group, which keep whichever comes first
        rows = [[0.0 if value == 0.0 else value for value in row] for row in spark.sql(plan.query).collect()]
    except (PySparkException, Py4JJavaError) as error:
        return "error", _first_line(error)
    finally:
        for key in changed:
            spark.conf.unset(key)
    return "rows", sorted(map(repr, rows))


def refused(spark: SparkSession) -> int:
    """How many plans the rules have made so far that could not have run, and were not taken."""
    return int(spark.sparkContext._jvm.io.sparkmodel.plan.Checked.refused())


def _first_line(error: Exception) -> str:
    """What is told first by whoever failed, without numbers that are new each time."""
    told = re.findall(r"(?:\[[A-Z_.]+\]|\w+(?:Exception|Error):) [^\n]*", str(error))
    return re.sub(r"#\d+", "#", told[-1] if told else str(error)[:300])
