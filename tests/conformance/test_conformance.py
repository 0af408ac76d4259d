# SPDX-License-Identifier: Apache-2.0
"""Every loader by every entry point: same rows in, same values out, bit for bit; same bad rows, same condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

import sparkmodel as sm
from sparkmodel.spark.bridge import bridge_status
from tests.conformance.entries import ENTRIES, PYTHON_PATH, Entry
from tests.conformance.loaders import LOADERS
from tests.conformance.teller import POISON

TYPES = "id int, size double, count bigint, kind string"
# several times over, so that each partition has a NULL beside the largest number
ROWS: list[tuple[Any, ...]] = 20 * [
    (0.1, 1, "a"),
    (-0.0, 9223372036854775707, ""),
    (1e308, None, "Łódź 🙂"),
    (float("-inf"), -(2**63), None),
    (None, 2**53 + 1, "nan"),
    (5e-324, 0, "None"),
    (None, None, None),
]
TOLD = [None if row == (None,) * 3 else repr([None if row[0] is None else row[0].hex(), *row[1:]]) for row in ROWS]


Table = Callable[[str, list[tuple[Any, ...]]], DataFrame]


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> Table:
    """Makes a table of two partitions, once for all loaders."""
    made: dict[str, DataFrame] = {}

    def table_(types: str, rows: list[tuple[Any, ...]]) -> DataFrame:
        key = f"{types}: {rows}"
        if key not in made:
            frame = spark.createDataFrame([(i, *row) for i, row in enumerate(rows)], types)
            made[key] = frame.repartition(2).cache()
        return made[key]

    return table_


FULLY = ("mlflow_uri", "object")  # a loader with a signature, and one without


def entries_for(loader_name: str) -> dict[str, Entry]:
    """The ways to call a model of this loader.

    On the Python path only one for most loaders: there Spark's worker asks the same pool, which has the model by then.
    """
    from_mlflow = loader_name.startswith("mlflow")
    return {
        name: entry
        for name, entry in ENTRIES.items()
        if (from_mlflow or not entry.mlflow_only)
        and (loader_name in FULLY or name == f"sql_columns{PYTHON_PATH}" or not name.endswith(PYTHON_PATH))
    }


def failing_entries_for(loader_name: str) -> dict[str, Entry]:
    """Of most loaders one by Spark for each path, since Spark forks a Python worker anew after each failure."""
    entries = entries_for(loader_name)
    if loader_name in FULLY:
        return entries
    return {name: entry for name, entry in entries.items() if name.startswith("sql_columns") or not entry.by_spark}


def test_the_session_has_both_paths(spark: SparkSession) -> None:
    assert bridge_status(spark) == "active"


@pytest.mark.fault("F20")
def test_the_same_rows_give_the_same_values(table: Table, model: sm.Model, loader_name: str) -> None:
    frame = table(TYPES, ROWS)
    for name, entry in entries_for(loader_name).items():
        assert entry.run(model, frame) == TOLD, name


def test_the_same_bad_rows_give_the_same_condition(table: Table, model: sm.Model, loader_name: str) -> None:
    # types of a signature, and columns that a model knows, are checked before a row is scored; else it finds out itself
    loader = LOADERS[loader_name]
    misfit = "SCHEMA_MISMATCH" if loader.is_signed else "PREDICT_FAILED"
    columns = "PREDICT_FAILED" if loader.is_around else "SCHEMA_MISMATCH"
    good = ROWS[0]
    bad = {
        "missing": (columns, table("id int, size double, kind string", [(0.1, "a")])),
        "text": (misfit, table("id int, size string, count bigint, kind string", [("x", 1, "a")])),
        "poison": ("PREDICT_FAILED", table(TYPES, [good, (0.1, 1, POISON), good])),
        "many": (columns, table(f"{TYPES}, more double", [(*good, 1.0)])),
    }
    wrong = []
    for name, entry in failing_entries_for(loader_name).items():
        for what, (condition, frame) in bad.items():
            if what == "many" and (entry.by_name or entry.mlflow_only or loader.is_around):
                continue  # ignored, as the next test shows, and as MLflow does; a function may want it
            try:
                wrong.append((name, what, entry.run(model, frame)))
            except Exception as error:  # Spark's, or ours
                if f"[{condition}]" not in str(error):
                    wrong.append((name, what, str(error)))
    assert wrong == []


def test_a_column_too_many_is_ignored_by_name(table: Table, model: sm.Model, loader_name: str) -> None:
    wide = table(f"{TYPES}, more double", [(*row, 1.0) for row in ROWS])
    for name, entry in entries_for(loader_name).items():
        if entry.by_name:
            assert entry.run(model, wide) == TOLD, name
