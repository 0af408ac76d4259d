# SPDX-License-Identifier: Apache-2.0
"""Names bind: whatever order the caller has his columns in."""

from __future__ import annotations

import pathlib
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.linear_model import LinearRegression

from tests.cases.case import Case, Refused
from tests.cases.sources import of_mlflow

OPTIONAL = ModelSignature(
    Schema([ColSpec("double", "a"), ColSpec("double", "b", required=False), ColSpec("double", "c")]),
    Schema([ColSpec("double")]),
)
CAPITALS = ModelSignature(Schema([ColSpec("double", "Age"), ColSpec("double", "Income")]), Schema([ColSpec("double")]))


def weights(frame: pd.DataFrame) -> Any:
    b = frame.get("b", 0.0)
    return frame["a"] + 5 * b + 100 * frame["c"]


def capitals(frame: pd.DataFrame) -> Any:
    return frame["Age"] + 2 * frame["Income"]


def linear(home: pathlib.Path) -> Any:
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0, 0.0], "b": [3.0, 1.0, 0.0, 1.0]})
    return LinearRegression().fit(frame, frame["a"] + 1000 * frame["b"])


AB = {"a": "double", "b": "double"}
CASES = [
    Case(
        name="an optional column left out in the middle",
        wish="issue: model('a', 'c') of (a, optional b, c) was 6 instead of 501",
        source=of_mlflow(weights, OPTIONAL),
        columns={"a": "double", "c": "double"},
        rows=[(1.0, 5.0)],
        wanted=[501.0],
        call="a, c",
        names=("a", "c"),
    ),
    Case(
        name="a required column left out",
        wish="findings E2: shop(age, income, city) without member failed inside the job, or was scored",
        source=of_mlflow(weights, OPTIONAL),
        columns={"a": "double", "b": "double"},
        rows=[(1.0, 5.0)],
        wanted=Refused("SCHEMA_MISMATCH", "'c' is missing"),
        call="a, b",
        names=("a", "b"),
    ),
    Case(
        name="names in another case and order",
        wish="issue: model('income', 'age') for (Age, Income) was 70 instead of 205",
        source=of_mlflow(capitals, CAPITALS),
        columns={"income": "double", "age": "double"},
        rows=[(100.0, 5.0)],
        wanted=[205.0],
        call="income, age",
        names=("income", "age"),
    ),
    Case(
        name="the case matters where the session says so",
        wish="Spark's documentation: spark.sql.caseSensitive",
        source=of_mlflow(capitals, CAPITALS),
        columns={"income": "double", "age": "double"},
        rows=[(100.0, 5.0)],
        wanted=Refused("SCHEMA_MISMATCH", "'Age' is missing"),
        call="struct(*)",
        conf={"spark.sql.caseSensitive": "true"},
        entries=("bridge", "python", "transform"),  # local data have no session
    ),
    Case(
        name="a model that was fitted with names",
        wish="mlflow 2439, 'feature names should match those that were passed during fit'",
        source=linear,
        columns={"x": "string", "b": "double", "a": "double"},
        rows=[("no", 2.0, 7.0)],
        wanted=[2007.0],
        call="struct(*)",
        names=("b", "a"),
        result_type="double",
    ),
    Case(
        name="a model that was fitted with names, called with columns of them",
        wish="issue: f(struct(b, a)); and the same without the struct",
        source=linear,
        columns={"b": "double", "a": "double"},
        rows=[(2.0, 7.0)],
        wanted=[2007.0],
        call="b, a",
        names=("b", "a"),
        result_type="double",
    ),
]
