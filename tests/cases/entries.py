# SPDX-License-Identifier: Apache-2.0
"""Every way to call a model, for one row of the tables."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, SparkSession

import sparkmodel as sm
from sparkmodel.errors import SparkModelError
from tests.cases.case import Case, Refused

BRIDGE = "spark.sparkmodel.bridge.enabled"


def outcome(spark: SparkSession, case: Case, entry: str, model: sm.Model, source: Any, frame: DataFrame) -> Any:
    """The predictions of all rows, or the condition and message of the error."""
    try:
        return plain(_ENTRIES[entry](spark, case, model, source, frame))
    except (SparkModelError, PySparkException) as error:
        found = re.search(r"\[([A-Z_]+)\] (Cannot [^\n]*)", str(error))
        if found is None or not isinstance(case.wanted, Refused):
            raise
        return Refused(found[1], found[2])


def matches(given: Any, wanted: Any) -> bool:
    """Whether an outcome is what is wanted."""
    if isinstance(wanted, Refused):
        is_refused = isinstance(given, Refused) and given.condition == wanted.condition
        return is_refused and wanted.words in given.words
    return not isinstance(given, Refused) and same(given, plain(list(wanted)))


def same(one: Any, other: Any) -> bool:
    """Equality of values and of their types, but for the kinds of numbers; NaN equals itself."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if one is None or other is None or isinstance(one, bool) != isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12) or (one != one and other != other)
    return bool(one == other)


def plain(value: Any) -> Any:
    """Python's own values of what Spark, pandas and Arrow give; instants in UTC, without their zone."""
    if isinstance(value, Row):
        return plain(value.asDict())
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, pd.Timestamp):
        value = value.to_pydatetime()
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, decimal.Decimal):
        return value.normalize()
    return value


def _sql(spark: SparkSession, case: Case, frame: DataFrame, by_bridge: bool) -> list[Any]:
    frame.createOrReplaceTempView("brought")
    spark.conf.set(BRIDGE, str(by_bridge).lower())
    try:
        return [row.p for row in spark.sql(f"SELECT brought({case.call}) AS p FROM brought").collect()]
    finally:
        spark.conf.unset(BRIDGE)


def _columns(frame: DataFrame, case: Case, function: Any) -> list[Any]:
    return [row.p for row in frame.select(function(*(case.names or ())).alias("p")).collect()]


def _predict(case: Case, model: sm.Model, frame: DataFrame) -> list[Any]:
    data = case.local() if case.local else frame.toArrow()
    result = model.predict(data)
    if isinstance(result, pd.DataFrame):
        return result.to_dict("records")
    if isinstance(result, pa.ChunkedArray):
        return list(result.to_pylist())
    return list(result)


def _drop_in(spark: SparkSession, case: Case, source: Any, frame: DataFrame) -> list[Any]:
    function = sm.spark_udf(spark, str(source), case.result_type, workers=1)
    try:
        return _columns(frame, case, function)
    finally:
        function.model.drop()


_ENTRIES: dict[str, Any] = {
    "bridge": lambda spark, case, model, source, frame: _sql(spark, case, frame, True),
    "python": lambda spark, case, model, source, frame: _sql(spark, case, frame, False),
    "columns": lambda spark, case, model, source, frame: _columns(frame, case, model),
    "transform": lambda spark, case, model, source, frame: [
        row.p for row in model.transform(frame, output_col="p").collect()
    ],
    "predict": lambda spark, case, model, source, frame: _predict(case, model, frame),
    "drop_in": lambda spark, case, model, source, frame: _drop_in(spark, case, source, frame),
}
