# SPDX-License-Identifier: Apache-2.0
"""Runs the tables: every row through all its entries."""

from __future__ import annotations

import importlib
import pathlib

import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.cases.case import Case
from tests.cases.entries import matches, outcome

TABLES = sorted(path.stem for path in pathlib.Path(__file__).parent.glob("kind_*.py"))
CASES = [
    pytest.param(case, id=f"{table.removeprefix('kind_')}-{case}")
    for table in TABLES
    for case in importlib.import_module(f"tests.cases.{table}").CASES
]


@pytest.mark.parametrize("case", CASES)
def test_a_case_has_its_value_by_every_entry(spark: SparkSession, case: Case, tmp_path: pathlib.Path) -> None:
    for key, value in case.conf.items():
        spark.conf.set(key, value)
    source = case.source(tmp_path)
    options = {"num_cpus": 0.1, "result_type": case.result_type, **case.options}
    model = sm.register(spark, "brought", source, replace=True, **options)
    try:
        schema = ", ".join(f"`{name}` {kind}" for name, kind in case.columns.items())
        frame = spark.createDataFrame(list(case.rows), schema).coalesce(1)
        wrong = {}
        for entry in case.entries:
            if (entry == "drop_in" and not isinstance(source, str)) or (
                entry in ("columns", "drop_in") and case.names is None
            ):
                continue
            given = outcome(spark, case, entry, model, source, frame)
            if not matches(given, case.wanted):
                wrong[entry] = given
        assert not wrong, f"{case.wish}: wanted {case.wanted}"
    finally:
        model.drop()
        for key in case.conf:
            spark.conf.unset(key)
