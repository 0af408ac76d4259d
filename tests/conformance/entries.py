# SPDX-License-Identifier: Apache-2.0
"""Every way to call a model. A new entry point is one more function in ENTRIES.

Each takes the registered model and a frame with the column `id` in front of those to score, and gives one value for
each row, in the order of `id`.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import uuid
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

import sparkmodel as sm


@dataclasses.dataclass(frozen=True)
class Entry:
    """How it is called, whether columns find their place by name, whether Spark does it, and for which sources."""

    run: Callable[[sm.Model, DataFrame], list[Any]]
    by_name: bool
    by_spark: bool = True
    mlflow_only: bool = False


def _given(frame: DataFrame) -> list[str]:
    return [name for name in frame.columns if name != "id"]


def _ordered(frame: DataFrame) -> list[Any]:
    return [row.p for row in sorted(frame.select("id", "p").collect(), key=lambda row: row.id)]


def _sql(model: sm.Model, frame: DataFrame, arguments: str) -> list[Any]:
    frame.createOrReplaceTempView("given")
    return _ordered(frame.sparkSession.sql(f"SELECT id, {model.name}({arguments}) AS p FROM given"))


def _columns(model: sm.Model, frame: DataFrame) -> list[Any]:
    return _sql(model, frame, ", ".join(_given(frame)))


def _struct(model: sm.Model, frame: DataFrame) -> list[Any]:
    return _sql(model, frame, f"struct({', '.join(reversed(_given(frame)))})")


def _select_expr(model: sm.Model, frame: DataFrame) -> list[Any]:
    return _ordered(frame.selectExpr("id", f"{model.name}({', '.join(_given(frame))}) AS p"))


def _second_function(model: sm.Model, frame: DataFrame) -> list[Any]:
    name = f"second_{uuid.uuid4().hex}"
    model.register_as(frame.sparkSession, name)
    try:
        return _ordered(frame.selectExpr("id", f"{name}({', '.join(_given(frame))}) AS p"))
    finally:
        frame.sparkSession.sql(f"DROP TEMPORARY FUNCTION {name}")


def _spark_udf(model: sm.Model, frame: DataFrame) -> list[Any]:
    """Of the same source where it is MLflow's; of others there is none."""
    source = model.describe()["source"]
    udf = sm.spark_udf(frame.sparkSession, source, workers=1)  # calls share a pool
    return _ordered(frame.withColumn("p", udf(*[frame[name] for name in _given(frame)])))


def _data_frame(model: sm.Model, frame: DataFrame) -> list[Any]:
    return _ordered(frame.withColumn("p", model(*[frame[name] for name in _given(frame)])))


def _transform(model: sm.Model, frame: DataFrame) -> list[Any]:
    return _ordered(model.transform(frame, output_col="p"))


def _stream(model: sm.Model, frame: DataFrame) -> list[Any]:
    spark = frame.sparkSession
    sink = f"sink_{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as home:
        pq.write_table(frame.toArrow(), pathlib.Path(home, "rows.parquet"))
        arriving = spark.readStream.schema(frame.schema).parquet(home)
        scored = arriving.selectExpr("id", f"{model.name}({', '.join(_given(frame))}) AS p")
        started = scored.writeStream.format("memory").queryName(sink).trigger(availableNow=True).start()
        started.awaitTermination()
    return _ordered(spark.table(sink))


def _local(convert: Callable[[pa.Table], Any]) -> Callable[[sm.Model, DataFrame], list[Any]]:
    def run(model: sm.Model, frame: DataFrame) -> list[Any]:
        table = frame.orderBy("id").toArrow().drop_columns("id")
        result = model.predict(convert(table))
        if isinstance(result, pa.ChunkedArray):
            return result.to_pylist()
        return [None if value != value else value for value in result]  # pandas' missing text

    return run


def _nullable(type_: pa.DataType) -> Any:
    return pd.Int64Dtype() if type_ == pa.int64() else None


ENTRIES: dict[str, Entry] = {
    "sql_columns": Entry(_columns, by_name=False),
    "sql_struct": Entry(_struct, by_name=True),
    "select_expr": Entry(_select_expr, by_name=False),
    "data_frame": Entry(_data_frame, by_name=False),
    "second_function": Entry(_second_function, by_name=False),
    "spark_udf": Entry(_spark_udf, by_name=False, mlflow_only=True),
    "transform": Entry(_transform, by_name=True),
    "stream": Entry(_stream, by_name=False),
    # nullable types: plain pandas has none for a BIGINT with a NULL
    "predict_pandas": Entry(
        _local(lambda table: table.to_pandas(types_mapper=_nullable)), by_name=True, by_spark=False
    ),
    "predict_arrow": Entry(_local(lambda table: table), by_name=True, by_spark=False),
    "predict_rows": Entry(_local(lambda table: table.to_pylist()), by_name=True, by_spark=False),
}


def _on_python_path(run: Callable[[sm.Model, DataFrame], list[Any]]) -> Callable[[sm.Model, DataFrame], list[Any]]:
    def without_bridge(model: sm.Model, frame: DataFrame) -> list[Any]:
        settings = frame.sparkSession.conf
        settings.set("spark.sparkmodel.bridge.enabled", "false")
        try:
            return run(model, frame)
        finally:
            settings.unset("spark.sparkmodel.bridge.enabled")

    return without_bridge


PYTHON_PATH = ", Python path"
ENTRIES |= {
    f"{name}{PYTHON_PATH}": dataclasses.replace(entry, run=_on_python_path(entry.run))
    for name, entry in ENTRIES.items()
    if entry.by_spark
}
