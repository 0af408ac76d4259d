# SPDX-License-Identifier: Apache-2.0
"""What models return: by name, by row, of any dtype, and never a value that was changed."""

from __future__ import annotations

import collections
import datetime
import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pydantic
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from tests.cases.case import Case, Refused
from tests.cases.sources import of_mlflow

ONE = ModelSignature(Schema([ColSpec("long", "x")]))
PARIS = {"spark.sql.session.timeZone": "Europe/Paris"}
UTC = datetime.timezone.utc
Named = collections.namedtuple("Named", "low high")


class Range(pydantic.BaseModel):
    """A row of a result."""

    low: int
    high: int | None = None


def case(name: str, wish: str, function: Callable[[Any], Any], result_type: str, wanted: Any, **more: Any) -> Case:
    """A model of one column with the rows 9, 7, 8."""
    return Case(
        name=name,
        wish=wish,
        source=of_mlflow(function, ONE),
        columns={"x": "bigint"},
        rows=[(9,), (7,), (8,)],
        wanted=wanted,
        call="x",
        names=("x",),
        result_type=result_type,
        **more,
    )


def other_order(frame: pd.DataFrame) -> Any:
    return pd.DataFrame({"high": frame["x"] + 2, "low": frame["x"]})


def other_case(frame: pd.DataFrame) -> Any:
    return pd.DataFrame({"HIGH": frame["x"] + 2, "Low": frame["x"]})


def names_twice(frame: pd.DataFrame) -> Any:
    return pd.DataFrame(np.column_stack([frame["x"], frame["x"], frame["x"]]), columns=["low", "high", "high"])


def misspelt(frame: pd.DataFrame) -> Any:
    return [{"low": 1, "hihg": 2}] * len(frame)


def sorted_inside(frame: pd.DataFrame) -> Any:
    return frame.sort_values("x")["x"] * 10


def of_groups(frame: pd.DataFrame) -> Any:
    return pd.concat([group * 10 for _, group in frame.groupby(frame["x"] % 2)])


def outputs(frame: pd.DataFrame) -> Any:
    return (frame[["x"]].to_numpy("float32"), frame["x"].to_numpy() + 2)


def models(frame: pd.DataFrame) -> Any:
    return [Range(low=x) if x == 7 else Range(low=x, high=x + 2) for x in frame["x"]]


def tuples(frame: pd.DataFrame) -> Any:
    return [Named(x, x + 2) for x in frame["x"].tolist()]


def big_endian(frame: pd.DataFrame) -> Any:
    return frame["x"].to_numpy().astype(">f4") / 2


def extended(frame: pd.DataFrame) -> Any:
    return frame["x"].to_numpy().astype(np.longdouble) + 2**60


def zero_axes(frame: pd.DataFrame) -> Any:
    return [np.array(x) for x in frame["x"]]


def categories(frame: pd.DataFrame) -> Any:
    return pd.Series(["a", "b", "a"], dtype="category")


def texts(frame: pd.DataFrame) -> Any:
    return [pd.Index(["a", "b"])] * len(frame)


def prices(frame: pd.DataFrame) -> Any:
    return frame["x"] / 10


def halves(frame: pd.DataFrame) -> Any:
    return np.where(frame["x"] == 7, 0.7, 1.0)


def midnights(frame: pd.DataFrame) -> Any:
    return [datetime.datetime(2024, 6, 30, 22, tzinfo=UTC)] * len(frame)


def evenings(frame: pd.DataFrame) -> Any:
    return [[datetime.datetime(2024, 7, 1, 23, 30)]] * len(frame)


def days(frame: pd.DataFrame) -> Any:
    return [{"at": datetime.date(2024, 7, 1), "all": [datetime.date(2024, 7, 1)]}] * len(frame)


PAIR = "low bigint, high bigint"
PAIRS = [{"low": 9, "high": 11}, {"low": 7, "high": 9}, {"low": 8, "high": 10}]
DTYPES = "issue: every dtype of pandas and numpy"
CASES = [
    case("columns in another order", "issue: (11, 9) instead of (9, 11)", other_order, PAIR, PAIRS),
    case("columns in another case", "issue: (11, 9) instead of (9, 11)", other_case, PAIR, PAIRS),
    case(
        "a column twice",
        "findings A14: the last was taken",
        names_twice,
        PAIR,
        Refused("WRONG_RESULT_TYPE", "['high'] more than once"),
    ),
    case(
        "a key that is misspelt",
        "findings A14: NULL or an error depending on other rows",
        misspelt,
        PAIR,
        Refused("WRONG_RESULT_TYPE", "the keys ['hihg'] are no fields"),
    ),
    case("rows sorted inside", "issue: they belong to their rows by the index", sorted_inside, "bigint", [90, 70, 80]),
    case("rows of groups", "issue: the same, put together from groups", of_groups, "bigint", [90, 70, 80]),
    case("several outputs of a network", "issue: a list of arrays as a struct", outputs, PAIR, PAIRS),
    case(
        "models of Pydantic",
        "issue: list[PydanticModel], and an optional key",
        models,
        PAIR,
        [PAIRS[0], {"low": 7, "high": None}, PAIRS[2]],
    ),
    case("namedtuples", "issue: lists of tuples", tuples, PAIR, PAIRS),
    case("big-endian floats", DTYPES, big_endian, "double", [4.5, 3.5, 4.0]),
    case("longdouble for BIGINT", DTYPES, extended, "bigint", [2**60 + 9, 2**60 + 7, 2**60 + 8]),
    case("arrays without axes", "issue: 0-d items", zero_axes, "double", [9.0, 7.0, 8.0]),
    case("categories", DTYPES, categories, "string", ["a", "b", "a"]),
    case(
        "an Index for each row", "issue: Index of strings for array<string>", texts, "array<string>", [["a", "b"]] * 3
    ),
    case(
        "floats for DECIMAL",
        "findings A14: rounded without a word",
        prices,
        "decimal(10, 2)",
        [decimal.Decimal("0.9"), decimal.Decimal("0.7"), decimal.Decimal("0.8")],
    ),
    case(
        "a fraction for DECIMAL without one",
        "findings A14: 0.7 became 1",
        halves,
        "decimal(3, 0)",
        Refused("WRONG_RESULT_TYPE", "is 0.7"),
    ),
    case(
        "an instant for DATE",
        "findings A14: its day in UTC was taken",
        midnights,
        "date",
        [datetime.date(2024, 7, 1)] * 3,
        conf=PARIS,
    ),
    case(
        "an evening for an array of DATE",
        "findings A14: 23:30 was lost without a word",
        evenings,
        "array<date>",
        Refused("WRONG_RESULT_TYPE", "a DATE would lose its time of day"),
        conf=PARIS,
    ),
    case(
        "dates for TIMESTAMP at every depth",
        "findings A14: midnight in UTC",
        days,
        "at timestamp_ntz, all array<timestamp_ntz>",
        [{"at": datetime.datetime(2024, 7, 1), "all": [datetime.datetime(2024, 7, 1)]}] * 3,
        conf=PARIS,
    ),
]
