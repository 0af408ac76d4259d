# SPDX-License-Identifier: Apache-2.0
"""One value for each row out of every form of result: as MLflow's own function makes it, run in this process."""

from __future__ import annotations

import datetime
import decimal
import pathlib
from collections.abc import Callable
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.scoring.outputs import to_array
from sparkmodel.spark.types import parse_result_type, to_arrow
from tests.integration import drop_in_models as models

KINDS = ["frame", "matrix", "labels", "small", "bits", "floats", "series", "flags", "records", "dict", "strings"]
KINDS += ["strings and None", "floats and None", "integers and None", "floats and NaN", "lists", "cube", "ragged"]
KINDS += ["objects"]
NUMBERS = {"labels", "small", "bits", "floats", "flags", "floats and NaN"}
WIDE = {"labels", "bits", "records", "dict", "objects", "integers and None"}
# forms of which MLflow makes something else, nothing in most cases
DIFFERENT: dict[str, set[str]] = {
    "int": {*WIDE, "lists"},  # nothing; integers of 64 bits, and floats without fraction, that fit
    "long": {"integers and None", "lists"},
    "float": {"floats and None", "integers and None"},  # NaN, which Spark takes for NULL; NULL
    "double": {"floats and None", "integers and None"},
    "boolean": {"bits"},  # nothing; 0 is false and 1 is true
    "string": {"strings and None", "floats and None", "floats and NaN", "integers and None"},  # 'nan'; NULL
    "array<int>": WIDE,
    "array<double>": {"floats and None", "integers and None"},
    "array<string>": {"strings and None", "floats and None", "floats and NaN", "integers and None"},
    "array<boolean>": {"bits"},
    "n long, x double": {"lists"},  # nothing; by position
    # nothing; the one column, which has no name
    "struct<x: double>": {*NUMBERS, "series", "floats and None", "integers and None"},
    # ndarrays of any shape, which Spark refuses; lists of lists
    "array<array<double>>": {*NUMBERS, "series", "matrix", "lists", "cube", "ragged", "floats and None"}
    | {"integers and None"},
}


@pytest.fixture(scope="module")
def uri(mlflow_store: pathlib.Path) -> str:
    """The model whose results have every form."""
    signature = ModelSignature(Schema([ColSpec(DataType.string, "kind"), ColSpec(DataType.long, "n")]))
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="m", python_model=models.Forms(), signature=signature, pip_requirements=[]
        )
    return str(logged.model_uri)


def outcome(make: Callable[[], Any]) -> str:
    """The values in words, with `-` for an error."""
    try:
        return repr(make())
    except (mlflow.MlflowException, sm.SparkModelError, ValueError, TypeError, KeyError):
        return "-"


@pytest.mark.parametrize("result_type", DIFFERENT)
def test_result_forms_are_read_as_mlflow_reads_them(result_type: str, spark: SparkSession, uri: str) -> None:
    udf = mlflow.pyfunc.spark_udf(spark, uri, result_type)
    arrow_type = to_arrow(parse_result_type(result_type))
    n = pd.Series(range(3))

    def theirs(kind: str) -> Any:
        result = next(udf.func(iter([(pd.Series([kind] * 3), n)])))
        return result.to_dict("records") if isinstance(result, pd.DataFrame) else result.tolist()

    def mine(kind: str) -> Any:
        return to_array("Cannot", models.forms(kind, n.to_numpy()), 3, arrow_type, like_mlflow=True).to_pylist()

    found = {kind: (outcome(lambda: theirs(kind)), outcome(lambda: mine(kind))) for kind in KINDS}  # noqa: B023
    assert {kind for kind, (expected, given) in found.items() if expected != given} == DIFFERENT[result_type], found


@pytest.mark.parametrize(
    ("result_type", "expected"),
    [
        ("timestamp", datetime.datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=datetime.timezone.utc)),
        ("date", datetime.date(2024, 7, 1)),
        ("decimal(10, 2)", decimal.Decimal("1.10")),
        ("binary", b"\xff"),
        ("array<binary>", [b"\xff"]),
    ],
)
def test_the_leftmost_column_that_fits_is_found_for_them_too(result_type: str, expected: Any) -> None:
    result = models.Refused().predict(None, pd.DataFrame({"a": [1.0]}))
    result.insert(0, "name", ["left"])
    values = to_array("Cannot", result, 1, to_arrow(parse_result_type(result_type)), like_mlflow=True)
    assert values.to_pylist() == [expected]
