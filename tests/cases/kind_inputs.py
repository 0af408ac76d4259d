# SPDX-License-Identifier: Apache-2.0
"""What people give: gaps, arrays of any length, objects with properties left out, type hints."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pydantic
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType, Array, Object, Property

from tests.cases.case import Case, Refused
from tests.cases.sources import of_mlflow, of_object

DOUBLE, LONG, STRING = (Schema([ColSpec(kind)]) for kind in ("double", "long", "string"))
POINT = Object([Property("x", "double"), Property("y", "double", required=False)])


class Item(pydantic.BaseModel):
    """One row of a model with type hints."""

    n: int
    note: str | None = None


class Hinted:
    """Saves a PythonModel whose predict has a type hint."""

    def __init__(self, hint: Any) -> None:
        self.hint = hint

    def __call__(self, home: pathlib.Path) -> str:
        def predict(self, model_input, params=None):  # type: ignore[no-untyped-def]
            return [repr(row) for row in model_input]

        predict.__annotations__ = {"model_input": self.hint, "return": list[str]}
        model = type("Model", (mlflow.pyfunc.PythonModel,), {"predict": predict})  # MLflow reads the hints here
        path = home / "model"
        mlflow.pyfunc.save_model(path, python_model=model(), pip_requirements=[])
        return str(path)


def signature(*types: Any, output: Schema = DOUBLE) -> ModelSignature:
    return ModelSignature(Schema([ColSpec(type_, name) for name, type_ in zip("ab", types, strict=False)]), output)


def lengths(frame: pd.DataFrame) -> Any:
    return [-1 if value is None else len(value) for value in frame.iloc[:, 0]]


def array_lengths(rows: Any) -> Any:
    return [len(row) for row in rows]


def in_place(array: Any) -> Any:
    array *= 2
    return array.sum(axis=1)


def keys(frame: pd.DataFrame) -> Any:
    return [",".join(sorted(value)) for value in frame["a"]]


def keys_within(frame: pd.DataFrame) -> Any:
    return [",".join(sorted(value[0])) for value in frame["a"]]


def labels(frame: pd.DataFrame) -> Any:
    return [str(list(frame.columns))] * len(frame)


def kinds(frame: pd.DataFrame) -> Any:
    return [type(value).__name__ for value in frame["a"]]


def gaps(frame: pd.DataFrame) -> Any:
    return [-1 if pd.isna(value) else int(value) for value in frame["a"]]


def of_hint(hint: Any) -> Callable[[pathlib.Path], Any]:
    return Hinted(hint)


CASES = [
    Case(
        name="arrays of different lengths",
        wish="issue: arrays of different lengths as an object column; SCHEMA_MISMATCH until now",
        source=of_object(lambda: array_lengths),
        columns={"a": "array<double>"},
        rows=[([1.0, 2.0],), ([],), ([3.0],)],
        wanted=[2, 0, 1],
        call="a",
        names=("a",),
        result_type="bigint",
        entries=("bridge", "python", "columns"),  # by name it is a frame
    ),
    Case(
        name="a NULL among arrays",
        wish="issue: a NULL array row is None in an object column where the model takes frames",
        source=of_object(lambda: lengths),
        columns={"a": "array<bigint>", "b": "int"},
        rows=[([1, 2], 1), (None, 1), ([3, None, 4], 1)],
        wanted=[2, -1, 3],
        call="a, b",
        names=("a", "b"),
        result_type="bigint",
    ),
    Case(
        name="a model that works in place",
        wish="issue: output array is read-only",
        source=of_object(lambda: in_place),
        columns={"a": "array<double>"},
        rows=[([1.0, 2.0],), ([3.0, 4.0],)],
        wanted=[6.0, 14.0],
        call="a",
        names=("a",),
        result_type="double",
        entries=("bridge", "python", "columns"),  # by name it is a frame
    ),
    Case(
        name="a property left out",
        wish="issue: optional properties of objects, at every depth",
        source=of_mlflow(keys, signature(POINT, "long", output=STRING)),
        columns={"a": "struct<x: double>", "b": "int"},
        rows=[((1.0,), 1)],
        wanted=["x"],
        call="a, b",
        names=("a", "b"),
    ),
    Case(
        name="a property left out in an array",
        wish="issue: optional properties of objects, at every depth",
        source=of_mlflow(keys_within, signature(Array(POINT), output=STRING)),
        columns={"a": "array<struct<x: float>>"},
        rows=[([(1.0,)],)],
        wanted=["x"],
        call="a",
        names=("a",),
    ),
    Case(
        name="a required property left out",
        wish="it is refused, and not made NULL",
        source=of_mlflow(keys, signature(Array(POINT), output=STRING)),
        columns={"a": "array<struct<y: double>>"},
        rows=[([(1.0,)],)],
        wanted=Refused("SCHEMA_MISMATCH", "column 'a' is"),
        call="a",
        names=("a",),
    ),
    Case(
        name="any type",
        wish="issue: AnyType in and out was a raw ValueError",
        source=of_mlflow(kinds, signature(AnyType(), output=Schema([ColSpec(AnyType())]))),
        columns={"a": "date"},
        rows=[(datetime.date(2020, 1, 1),)],
        wanted=["date"],
        call="a",
        names=("a",),
        result_type="string",
    ),
    Case(
        name="columns without names",
        wish="issue: unnamed columns labelled 0 as MLflow labels them",
        source=of_mlflow(labels, ModelSignature(Schema([ColSpec("double"), ColSpec("double")]), STRING)),
        columns={"p": "double", "q": "double"},
        rows=[(1.0, 2.0)],
        wanted=["[0, 1]"],
        call="p, q",
        names=("p", "q"),
        entries=("bridge", "python", "columns", "drop_in"),  # the others give names
    ),
    Case(
        name="integers beside a gap in a local frame",
        wish="issue: integer columns of local frames that a gap made floats",
        source=of_mlflow(gaps, signature("long", output=LONG)),
        columns={"a": "bigint"},
        rows=[(2**53 - 1,), (None,)],
        wanted=[2**53 - 1, -1],
        call="a",
        names=("a",),
        local=lambda: pd.DataFrame({"a": [2.0**53 - 1, np.nan]}),
    ),
    Case(
        name="a list of texts",
        wish="mlflow's documentation: type hints, list[str]",
        source=of_hint(list[str]),
        columns={"a": "string"},
        rows=[("x",), ("y",)],
        wanted=["'x'", "'y'"],
        call="a",
        names=("a",),
    ),
    Case(
        name="a list of dicts",
        wish="mlflow's documentation: type hints, list[dict[str, int]]",
        source=of_hint(list[dict[str, int]]),
        columns={"a": "map<string, int>"},
        rows=[({"k": 1},), ({"j": 2},)],
        wanted=["{'k': 1}", "{'j': 2}"],
        call="a",
        names=("a",),
    ),
    Case(
        name="a list of dicts of anything",
        wish="mlflow's documentation: type hints, list[dict[str, Any]]",
        source=of_hint(list[dict[str, Any]]),
        columns={"a": "map<string, string>"},
        rows=[({"k": "v"},)],
        wanted=["{'k': 'v'}"],
        call="a",
        names=("a",),
    ),
    Case(
        name="a list of pydantic models",
        wish="mlflow's documentation: type hints, list[PydanticModel]; NULL is None",
        source=of_hint(list[Item]),
        columns={"note": "string", "n": "bigint"},
        rows=[("x", 2**53 + 1), (None, 2)],
        wanted=["Item(n=9007199254740993, note='x')", "Item(n=2, note=None)"],
        call="struct(*)",
        names=("n", "note"),
    ),
    Case(
        name="a list of lists",
        wish="mlflow's documentation: type hints, list[list[float]]",
        source=of_hint(list[list[float]]),
        columns={"a": "array<double>"},
        rows=[([1.0],), ([2.0, 3.0],)],
        wanted=["[1.0]", "[2.0, 3.0]"],
        call="a",
        names=("a",),
    ),
    Case(
        name="a duration",
        wish="issue: INTERVAL without internal errors, the same on both paths",
        source=of_object(lambda: lambda frame: frame["a"].dt.total_seconds()),
        columns={"a": "interval day to second", "b": "int"},
        rows=[(datetime.timedelta(days=1, microseconds=500_000), 1)],
        wanted=[86400.5],
        call="struct(*)",
        names=("a", "b"),
        result_type="double",
        entries=("bridge", "python", "transform", "predict"),
    ),
    Case(
        name="months",
        wish="issue: INTERVAL without internal errors, the same on both paths",
        source=of_object(lambda: kinds),
        columns={"a": "int", "b": "int"},
        rows=[(1, 1)],
        wanted=Refused("UNSUPPORTED_TYPE", "INTERVAL YEAR TO MONTH"),
        call="make_ym_interval(a, b), b",
        result_type="string",
        entries=("bridge", "python"),
    ),
]
