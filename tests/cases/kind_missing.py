# SPDX-License-Identifier: Apache-2.0
"""What a model means nothing by is NULL, and what was handed in with gaps is taken back whatever became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from tests.cases.case import Case
from tests.cases.sources import of_mlflow

NAN = float("nan")
BIG = 2**60
ONE = ModelSignature(Schema([ColSpec("long", "n", required=False)]))
BACK = "issue: a BIGINT with NULL is taken back whatever the model made of it; pandas_udf does"
ONE_RULE = "issue: what the model gives as missing is NULL for every result type"


def case(name: str, wish: str, function: Callable[[Any], Any], result_type: str, wanted: Any) -> Case:
    """A model of one column of 2, NULL."""
    return Case(
        name=name,
        wish=wish,
        source=of_mlflow(function, ONE),
        columns={"n": "bigint"},
        rows=[(2,), (None,)],
        wanted=wanted,
        call="n",
        names=("n",),
        result_type=result_type,
    )


def doubled(frame: pd.DataFrame) -> Any:
    return frame["n"].to_numpy() * 2


def listed(frame: pd.DataFrame) -> Any:
    return list(frame["n"])


def each_row(frame: pd.DataFrame) -> Any:
    return frame.apply(lambda row: row["n"] * 2, axis=1)


def nullable(frame: pd.DataFrame) -> Any:
    return frame["n"] + BIG


def truths(frame: pd.DataFrame) -> Any:
    return [None if pd.isna(n) else n > 1 for n in frame["n"]]


def no_numbers(frame: pd.DataFrame) -> Any:
    return np.array([1.0, np.nan])


def no_texts(frame: pd.DataFrame) -> Any:
    return pd.Series(["a", np.nan])


def no_times(frame: pd.DataFrame) -> Any:
    return [True, pd.NaT]


def inside(frame: pd.DataFrame) -> Any:
    return [{"whole": [1, pd.NA, np.nan], "part": [1.0, None, np.nan]}, None]


CASES = [
    case("integers by way of numpy", BACK, doubled, "bigint", [4, None]),
    case("integers in a list", BACK, listed, "bigint", [2, None]),
    case("integers row by row", BACK, each_row, "bigint", [4, None]),
    case("integers of pandas", BACK, nullable, "bigint", [BIG + 2, None]),
    case("integers in a list for DOUBLE", BACK, listed, "double", [2.0, None]),
    case("booleans", BACK, truths, "boolean", [True, None]),
    case("NaN for BIGINT", ONE_RULE, no_numbers, "bigint", [1, None]),
    case("NaN for DOUBLE", "issue: NaN of a float result stays NaN", no_numbers, "double", [1.0, NAN]),
    case("NaN for STRING", ONE_RULE, no_texts, "string", ["a", None]),
    case("NaT for BOOLEAN", ONE_RULE, no_times, "boolean", [True, None]),
    case(
        "inside of a struct and of arrays",
        ONE_RULE,
        inside,
        "whole array<bigint>, part array<double>",
        [{"whole": [1, None, None], "part": [1.0, None, NAN]}, None],
    ),
]
