# SPDX-License-Identifier: Apache-2.0
"""What tests of SQL say again and again."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

SMALL = "OPTIONS (num_cpus = 0.1)"
LINE = f"""INPUT (a double, b double) RETURNS double COMMENT 'ten a and b' USING python {SMALL} AS $$
def predict(frame):
    return frame["a"] * 10 + frame["b"]
$$"""


@dataclasses.dataclass(frozen=True)
class Files:
    """Files that statements name."""

    home: pathlib.Path

    @property
    def pickle(self) -> str:
        """A model that multiplies by 3."""
        return str(self.home / "line.pkl")

    @property
    def broken(self) -> str:
        return str(self.home / "broken.pkl")

    @property
    def empty(self) -> str:
        return str(self.home / "empty")


def run(session: SparkSession, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement."""
    return [tuple(row) for row in session.sql(statement, args=parameters or None).collect()]


def value(session: SparkSession, expression: str) -> Any:
    """What an expression gives."""
    ((found,),) = run(session, f"SELECT {expression}")
    return found


def python(name: str, target: str = "DoubleModel", options: str = "") -> str:
    """A statement that makes a model of tests/models.py."""
    return (
        f"CREATE MODEL {name} RETURNS double USING python LOCATION 'tests.models:{target}' "
        f"OPTIONS (num_cpus = 0.1{options})"
    )


def described(session: SparkSession, name: str) -> dict[str, str]:
    """DESCRIBE MODEL EXTENDED as a mapping."""
    return {str(key): str(text) for key, text in run(session, f"DESCRIBE MODEL EXTENDED {name}")}


def shown(session: SparkSession, name: str) -> str:
    """SHOW CREATE MODEL."""
    ((text,),) = run(session, f"SHOW CREATE MODEL {name}")
    return str(text)


def refused(session: SparkSession, statement: str) -> str:
    """The condition of the error that a statement gives."""
    with pytest.raises(AnalysisException) as caught:
        run(session, statement)
    return str(caught.value.getCondition())
