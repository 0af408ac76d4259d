# SPDX-License-Identifier: Apache-2.0
"""Names bind: whatever order the caller has his columns in."""

from __future__ import annotations

import importlib
import pathlib
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Object, Property
from sklearn.linear_model import LinearRegression

from tests.cases.case import Case, Refused
from tests.cases.sources import of_mlflow, of_object

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


def boosted() -> Any:
    lightgbm = importlib.import_module("lightgbm")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 2, (400, 2)).astype(float), columns=["a", "b"])
    model = lightgbm.LGBMRegressor(n_estimators=200, learning_rate=0.5, min_child_samples=1, verbose=-1)
    return model.fit(frame, frame["a"] + 10 * frame["b"])


def norm(frame: pd.DataFrame) -> Any:
    return [float(np.hypot(row["x"], row["y"])) for row in frame["point"]]


def odd(frame: pd.DataFrame) -> Any:
    return frame["a b"] + 10 * frame["x.y"] + 100 * frame["q`"]


POINT = ModelSignature(
    Schema([ColSpec(Object([Property("x", DataType.double), Property("y", DataType.double)]), "point")]),
    Schema([ColSpec("double")]),
)
ODD = ModelSignature(Schema([ColSpec("double", name) for name in ("a b", "x.y", "q`")]), Schema([ColSpec("double")]))
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
    Case(
        name="LightGBM in another order",
        wish="issue: trained on (a, b), f(struct(b, a)) gave one number for every row, without a word",
        source=of_object(boosted),
        columns={"b": "double", "a": "double"},
        rows=[(0.0, 1.0), (1.0, 0.0)],
        wanted=[1.0, 10.0],
        call="struct(b, a)",
        names=("b", "a"),
        result_type="double",
    ),
    Case(
        name="a struct that is the only input",
        wish="issue: f(point), f(struct(point)), f(*), f() all said that 'point' is missing",
        source=of_mlflow(norm, POINT),
        columns={"point": "struct<x: double, y: double>"},
        rows=[((3.0, 4.0),)],
        wanted=[5.0],
        call="point",
        names=("point",),
    ),
    Case(
        name="a struct that is the only input, by star",
        wish="issue: f(*) said that 'point' is missing",
        source=of_mlflow(norm, POINT),
        columns={"id": "int", "point": "struct<y: double, x: double>"},
        rows=[(1, (3.0, 4.0))],
        wanted=[5.0],
        call="*",
        names=(),
    ),
    Case(
        name="a struct that is the only input, by its fields",
        wish="issue: optional properties and structs as the whole input",
        source=of_mlflow(norm, POINT),
        columns={"y": "double", "x": "double"},
        rows=[(4.0, 3.0)],
        wanted=[5.0],
        call="struct(y, x)",
    ),
    Case(
        name="names with a dot, a blank and a backtick",
        wish="mlflow's spark_udf: columns of such names cannot be given by name",
        source=of_mlflow(odd, ODD),
        columns={"a b": "double", "x.y": "double", "q``": "double"},
        rows=[(1.0, 2.0, 3.0)],
        wanted=[321.0],
        call="`a b`, `x.y`, `q``` ",
        names=("a b", "q`", "x.y"),
    ),
    Case(
        name="names of the call for a function",
        wish="peers N: a model without signature takes the names of the call",
        source=of_object(lambda: lambda frame: frame["a"] - frame["b"]),
        columns={"b": "double", "a": "double"},
        rows=[(2.0, 7.0)],
        wanted=[5.0],
        call="b, a",
        names=("b", "a"),
        result_type="double",
    ),
    Case(
        name="a column of one input's name in another's place",
        wish="issue: mixing is an error",
        source=of_mlflow(capitals, CAPITALS),
        columns={"income": "double", "x": "double"},
        rows=[(100.0, 5.0)],
        wanted=Refused("SCHEMA_MISMATCH", "by its name, and argument 1"),
        call="income, x",
        names=("income", "x"),
        entries=("bridge", "python", "columns", "drop_in"),
    ),
]
