# SPDX-License-Identifier: Apache-2.0
"""The shows of `python -m tests.endurance`, each a short while."""

from __future__ import annotations

import pathlib

import pytest
from pyspark.sql import SparkSession

from tests.endurance.__main__ import SHOWS

TIMES = {"swaps": 6, "deaths": 3, "intents": 24, "waves": 1, "many": 40}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWS)
def test_nothing_is_seen_that_must_not_be(spark: SparkSession, tmp_path: pathlib.Path, name: str) -> None:
    show, _ = SHOWS[name]
    assert show(spark, tmp_path, TIMES[name]) == []
