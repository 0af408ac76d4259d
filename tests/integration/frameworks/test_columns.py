# SPDX-License-Identifier: Apache-2.0
"""What becomes of each kind of column between the frame that a signature was inferred from and the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from pyspark.errors import AnalysisException, PythonException
from pyspark.sql import SparkSession

import sparkmodel as sm

KINDS = pd.DataFrame(
    {
        "whole": np.array([1, 2]),
        "small": np.array([1, 2], "int32"),
        "real": [0.5, 1.5],
        "half": np.array([0.5, 1.5], "float32"),
        "text": ["a", "b"],
        "time": pd.to_datetime(["2024-01-02 03:04:05", "2024-07-01 00:00:00"]),
        "flag": [True, False],
    }
)
GIVEN = {
    "whole": "1L",
    "small": "2",
    "real": "0.5D",
    "half": "float(0.5)",
    "text": "'a'",
    "time": "TIMESTAMP_NTZ'2024-01-02 03:04:05'",
    "flag": "true",
}


class Echo(mlflow.pyfunc.PythonModel):
    """Type and value of each column, in the first row."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        seen = {
            name: f"{column.dtype} {'missing' if pd.isna(column.iloc[0]) else column.iloc[0]}"
            for name, column in model_input.items()
        }
        return [seen] * len(model_input)


@pytest.fixture(scope="module")
def echo(spark: SparkSession, log: Callable[..., str]) -> Iterator[Callable[..., dict[str, str]]]:
    """What the model sees of one row, in a session east of Greenwich."""
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="echo",
            python_model=Echo(),
            signature=mlflow.models.infer_signature(KINDS, ["x"]),
            pip_requirements=[],
        )
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    model = sm.register(spark, "echo", info.model_uri, num_cpus=0.5, result_type="map<string, string>")

    def echo_(**changed: str) -> dict[str, str]:
        row = spark.sql(f"SELECT echo({', '.join({**GIVEN, **changed}.values())}) AS p").first()
        assert row is not None
        return dict(row.p)

    yield echo_
    model.drop()
    spark.conf.set("spark.sql.session.timeZone", str(zone))


def test_columns_of_the_signatures_types_arrive_as_they_were_trained_with(echo: Callable[..., dict[str, str]]) -> None:
    assert echo() == {
        "whole": "int64 1",
        "small": "int32 2",
        "real": "float64 0.5",
        "half": "float32 0.5",
        "text": "str a",
        "time": "datetime64[ns] 2024-01-02 03:04:05",
        "flag": "bool True",
    }


@pytest.mark.parametrize(
    ("column", "sql", "seen"),
    [
        ("whole", "1", "int64 1"),
        ("small", "2L", "int32 2"),
        ("real", "1.5", "float64 1.5"),
        ("real", "2", "float64 2.0"),
        ("half", "1.5", "float32 1.5"),
        ("half", "0.1D", "float32 0.10000000149011612"),
        ("time", "DATE'2024-01-02'", "datetime64[ns] 2024-01-02 00:00:00"),
        ("time", "TIMESTAMP'2024-01-02 03:04:05'", "datetime64[ns] 2024-01-02 03:04:05"),
    ],
)
def test_a_value_is_widened_to_the_signature(
    echo: Callable[..., dict[str, str]], column: str, sql: str, seen: str
) -> None:
    assert echo(**{column: sql})[column] == seen


@pytest.mark.parametrize(
    ("column", "type_", "seen"),
    [
        ("whole", "bigint", "Int64 missing"),
        ("small", "int", "Int32 missing"),
        ("real", "double", "float64 missing"),
        ("half", "float", "float32 missing"),
        ("text", "string", "str missing"),
        ("time", "timestamp", "datetime64[ns] missing"),
        ("time", "date", "datetime64[ns] missing"),
        ("flag", "boolean", "boolean missing"),
    ],
)
@pytest.mark.fault("F20")
def test_a_null_of_every_kind_is_missing_to_the_model(
    echo: Callable[..., dict[str, str]], column: str, type_: str, seen: str
) -> None:
    assert echo(**{column: f"CAST(NULL AS {type_})"})[column] == seen


@pytest.mark.parametrize(
    ("column", "sql"),
    [("whole", "1.5"), ("whole", "1D"), ("small", "3000000000L"), ("half", "1e300D"), ("flag", "1"), ("text", "1")],
)
def test_what_would_lose_something_does_not_fit(echo: Callable[..., dict[str, str]], column: str, sql: str) -> None:
    # a type of another kind when the query is analysed, a value that is too large when it is read
    with pytest.raises((AnalysisException, PythonException), match=rf"\[SCHEMA_MISMATCH\].*'{column}'"):
        echo(**{column: sql})
