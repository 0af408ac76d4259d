# SPDX-License-Identifier: Apache-2.0
"""Time on its way in: what the clock showed in the session, at every depth."""

from __future__ import annotations

import datetime
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, Map, Object, Property

from tests.cases.case import Case
from tests.cases.sources import of_mlflow, of_object

ZONE = {"spark.sql.session.timeZone": "America/New_York"}
UTC = datetime.timezone.utc
EVENING = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)  # 22:04:05 of the day before in New York
LAST = datetime.datetime(9999, 12, 31, 12, 0, 0, tzinfo=UTC)
LONG = Schema([ColSpec("long")])
DATETIME = DataType.datetime


def hours(frame: pd.DataFrame) -> Any:
    """The hour of what is in the first column, which may be an array, a struct or a map."""
    return [hour_in(value) for value in frame.iloc[:, 0]]


def hour_in(value: Any) -> Any:
    while not isinstance(value, (datetime.datetime, str)) and hasattr(value, "__len__"):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return -1 if value is None or pd.isna(value) else pd.Timestamp(value).hour


def years(frame: pd.DataFrame) -> Any:
    return frame["t"].dt.year


def of_types(*types: Any) -> ModelSignature:
    return ModelSignature(Schema([ColSpec(type_, name) for name, type_ in zip("tu", types, strict=False)]), LONG)


def nested(name: str, type_: str, value: Any, signed: Any) -> list[Case]:
    """A timestamp within something else, for a model with a signature and for one without."""
    wish = "issue: the hour of a TIMESTAMP inside an array or struct was 2 instead of 22"
    common: dict[str, Any] = {
        "wish": wish,
        "rows": [(value, 0)],
        "wanted": [22],
        "columns": {"t": type_, "u": "int"},
        "conf": ZONE,
        "call": "t, u",
        "names": ("t", "u"),
        # local rows have no session: a table of Spark's shows UTC's clock
        "entries": ("bridge", "python", "columns", "transform", "drop_in"),
    }
    return [
        Case(name=f"a timestamp in {name}", source=of_mlflow(hours, of_types(signed, "long")), **common),
        Case(
            name=f"a timestamp in {name} without a signature",
            source=of_object(lambda: hours),
            result_type="bigint",
            **common,
        ),
    ]


CASES = [
    *nested("an array", "array<timestamp>", [EVENING], Array(DATETIME)),
    *nested("a struct", "struct<x: timestamp>", (EVENING,), Object([Property("x", DATETIME)])),
    *nested("a map", "map<string, timestamp>", {"k": EVENING}, Map(DATETIME)),
    *nested(
        "an array of structs",
        "array<struct<x: timestamp>>",
        [(EVENING,)],
        Array(Object([Property("x", DATETIME)])),
    ),
    Case(
        name="a date for a datetime",
        wish="issue: a date for TIMESTAMP is midnight of the session's zone",
        source=of_mlflow(hours, of_types("datetime")),
        columns={"t": "date"},
        rows=[(datetime.date(2020, 7, 1),), (None,)],
        wanted=[0, -1],
        conf=ZONE,
        call="t",
        names=("t",),
    ),
    Case(
        name="the last day that SQL has",
        wish="findings A14: 9999-12-31 fails for an MLflow datetime",
        source=of_mlflow(years, of_types("datetime")),
        columns={"t": "timestamp"},
        rows=[(LAST,), (EVENING,)],
        wanted=[9999, 2020],
        conf=ZONE,
        call="t",
        names=("t",),
    ),
]
