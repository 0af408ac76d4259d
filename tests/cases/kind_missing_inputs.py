# SPDX-License-Identifier: Apache-2.0
"""Rows with a NULL among the inputs, and what the model makes of them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from tests.cases.case import Case
from tests.cases.sources import of_mlflow

AB = ModelSignature(Schema([ColSpec("double", "a"), ColSpec("long", "b")]), Schema([ColSpec("double")]))
NAN = float("nan")


def total(frame: pd.DataFrame) -> Any:
    return frame["a"] + frame["b"].astype("float64")


COMMON: dict[str, Any] = {
    "source": of_mlflow(total, AB),
    "columns": {"b": "bigint", "a": "double"},
    "rows": [(1, 2.0), (1, None), (2, NAN)],
    "call": "b, a",
    "names": ("b", "a"),
}
CASES = [
    Case(
        name="a NULL is the model's to deal with",
        wish="SQL's CALLED ON NULL INPUT; a float column of pandas has NaN for NULL, and the sum is NaN",
        wanted=[3.0, NAN, NAN],
        **COMMON,
    ),
    Case(
        name="rows with a NULL are NULL where it is said so",
        wish="issue: a NULL of an outer join's missing side came back NaN; SQL's RETURNS NULL ON NULL INPUT",
        wanted=[3.0, None, NAN],
        options={"null_input": "null"},
        entries=("bridge", "python", "columns", "transform", "predict"),  # of the drop-in it is an option of the pool
        **COMMON,
    ),
]
