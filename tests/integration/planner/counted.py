# SPDX-License-Identifier: Apache-2.0
"""A session with two models that count the rows they score."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pandas as pd
from pyspark.sql import DataFrame, SparkSession

import sparkmodel as sm

NO_RULE = {"spark.sql.optimizer.excludedRules": "io.sparkmodel.plan.ScoreOnce"}
RULES = ("scoreOnce", "conditional", "reuse", "join")
ROWS = 1000  # of table t; 56 of them have f(x) <= 5, and 49 have f(x) > 900
MANY = 100_000


def minus_50(_: None, data: pd.DataFrame) -> pd.Series:
    return data.iloc[:, 0].astype("float64").fillna(7.0) - 50  # a NULL does not give NULL


def twice(_: None, data: pd.DataFrame) -> pd.Series:
    return data.iloc[:, 0].astype("float64").fillna(-1.0) * 2


class Counted:
    """A session with the models f and g, and how many rows each has scored."""

    def __init__(self, spark: SparkSession, f: sm.Model, g: sm.Model) -> None:
        self.spark, self.f, self.g = spark, f, g

    def scored(self) -> tuple[int, int]:
        return self.f.stats()["rows"], self.g.stats()["rows"]

    def run(self, query: str | Callable[[], DataFrame], off: tuple[str, ...] = ()) -> tuple[list[str], int, int]:
        """The rows of a query as text, in some order, and how many rows f and g have scored for it."""
        return self._run(query, {f"spark.sparkmodel.rules.{rule}": "false" for rule in off})

    def plain(self, query: str | Callable[[], DataFrame]) -> tuple[list[str], int, int]:
        """The same with Spark's own rules only."""
        return self._run(query, NO_RULE)

    def _run(self, query: str | Callable[[], DataFrame], conf: dict[str, str]) -> tuple[list[str], int, int]:
        with self.set(**conf):
            before = self.scored()
            frame = self.spark.sql(query) if isinstance(query, str) else query()
            rows = sorted(map(str, frame.collect()))
            after = self.scored()
        return rows, after[0] - before[0], after[1] - before[1]

    def check(
        self, query: str | Callable[[], DataFrame], f: int, g: int = 0, off: tuple[str, ...] | None = None
    ) -> tuple[int, int]:
        """Check what f and g score, and that the rows are the same without some rules; returns what they score then.

        By default with none but Spark's own.
        """
        rows, *scored = self.run(query)
        assert scored == [f, g]
        expected, *without = self.plain(query) if off is None else self.run(query, off)
        assert rows == expected
        return without[0], without[1]

    @contextlib.contextmanager
    def set(self, **values: str) -> Iterator[None]:
        for key, value in values.items():
            self.spark.conf.set(key, value)
        try:
            yield
        finally:
            for key in values:
                self.spark.conf.unset(key)
