# SPDX-License-Identifier: Apache-2.0
"""Models whose every answer says which version gave it, and whether the columns came as they were meant."""

from __future__ import annotations

import pathlib
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from tests.cases.sources import of_mlflow

STEP = 10_000_000_000  # more than any value of a row


def made(home: pathlib.Path, number: int) -> str:
    """The directory of an MLflow model that gives `number * STEP + 1000 * a + b`; odd ones take (b, a).

    It goes by place, as a model does whose weights know places only.
    """
    path = home / f"oracle{number}"
    if path.exists():
        return str(path / "model")
    path.mkdir(parents=True)
    is_odd = number % 2

    def predict(frame: pd.DataFrame) -> Any:
        a, b = frame.iloc[:, is_odd], frame.iloc[:, 1 - is_odd]
        return (number * 10_000_000_000 + 1000 * a + b).astype("int64")

    names = ("b", "a") if is_odd else ("a", "b")
    signature = ModelSignature(Schema([ColSpec("long", name) for name in names]), Schema([ColSpec("long")]))
    return of_mlflow(predict, signature)(path)


def number_of(answer: int) -> int:
    """Which model gave an answer."""
    return int(answer) // STEP


def is_right(answer: int, a: int, b: int) -> bool:
    """Whether it is the answer for a row, of whichever model."""
    return int(answer) % STEP == 1000 * a + b
