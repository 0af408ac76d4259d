# SPDX-License-Identifier: Apache-2.0
"""Modules of the user's own that were written, imported or edited after Ray began."""

from __future__ import annotations

import importlib
import os
import pathlib
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm

Write = Callable[[str, str], None]


@pytest.fixture
def write(spark: SparkSession, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module that can be imported here, when Ray and its warm processes run already."""
    sm.register(spark, "early", abs, result_type="double", replace=True).drop()
    monkeypatch.syspath_prepend(tmp_path)
    before, seconds = set(sys.modules), iter(range(1_000_000_000, 1_000_001_000, 10))

    def to_file(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        second = next(seconds)  # Python's own caches know seconds only
        os.utime(tmp_path / name, (second, second))
        importlib.invalidate_caches()

    yield to_file
    for name in set(sys.modules) - before:
        del sys.modules[name]


def scored(spark: SparkSession, source: Any, **options: Any) -> float:
    model = sm.register(spark, "late", source, result_type="double", replace=True, num_cpus=0.1, **options)
    try:
        return float(spark.sql("SELECT late(3D) AS p").head().p)  # type: ignore[union-attr]
    finally:
        model.drop()


MODEL = """
import late_rates
class Model:
    def predict(self, frame):
        return frame.iloc[:, 0] * late_rates.RATE
"""


def test_a_module_written_late_and_edited_serves_what_it_says_now(spark: SparkSession, write: Write) -> None:
    write("late_rates.py", "RATE = 2\n")
    write("late_model.py", MODEL)
    late = importlib.import_module("late_model")
    assert scored(spark, late.Model()) == 6
    write("late_rates.py", "RATE = 5\n")
    importlib.reload(importlib.import_module("late_rates"))
    assert scored(spark, late.Model()) == 15
    write("late_model.py", MODEL.replace("RATE\n", "RATE + 1\n"))
    importlib.reload(late)
    assert scored(spark, late.Model()) == 16


def test_an_update_goes_to_the_edited_module(spark: SparkSession, write: Write) -> None:
    write("late_rates.py", "RATE = 2\n")
    write("late_model.py", MODEL)
    late = importlib.import_module("late_model")
    model = sm.register(spark, "late", late.Model(), result_type="double", num_cpus=0.1)
    try:
        write("late_model.py", MODEL.replace("* late_rates.RATE", "+ 100"))
        importlib.reload(late)
        model.update(late.Model())
        assert list(model.predict([{"x": 3.0}])) == [103]
    finally:
        model.drop()


def test_other_sources_find_a_late_module_too(spark: SparkSession, write: Write, tmp_path: pathlib.Path) -> None:
    write("late_rates.py", "RATE = 2\n")
    write("late_model.py", MODEL)
    assert scored(spark, "python:late_model:Model") == 6
    (tmp_path / "late.sav").write_bytes(pickle.dumps(importlib.import_module("late_model").Model()))
    assert scored(spark, tmp_path / "late.sav", trust_pickle=True) == 6


def test_a_worker_of_another_environment_gets_them_too(spark: SparkSession, write: Write) -> None:
    write("late_rates.py", "RATE = 2\n")
    write("late_model.py", MODEL)
    model = importlib.import_module("late_model").Model()
    assert scored(spark, model, extra_env={"ANY": "1"}) == 6  # no fork of a warm process
