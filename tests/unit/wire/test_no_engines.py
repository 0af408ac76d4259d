# SPDX-License-Identifier: Apache-2.0
"""The guard in tests/unit/conftest.py holds, whether an engine was imported before a test or by it."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


def start_ray() -> Any:
    return importlib.import_module("ray").init(address="local", num_cpus=1)


def start_spark() -> Any:
    return importlib.import_module("pyspark.sql").SparkSession.builder.master("local[1]").getOrCreate()


def start_spark_context() -> Any:
    return importlib.import_module("pyspark").SparkContext("local[1]", "unit")


@pytest.mark.parametrize("attempt", ["when it imports it", "when it was imported before"])
@pytest.mark.parametrize("start", [start_ray, start_spark, start_spark_context])
def test_no_unit_test_starts_an_engine(start: Any, attempt: str) -> None:
    with pytest.raises(RuntimeError, match="was called in a unit test"):
        start()
