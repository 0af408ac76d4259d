# SPDX-License-Identifier: Apache-2.0
"""The shows of `python -m tests.endurance`, each a short while."""

from __future__ import annotations

import pathlib

import pytest
from pyspark.sql import SparkSession

from tests.endurance.__main__ import SHOWS
from tests.endurance.chaos import chaos

TIMES = {"swaps": 4, "deaths": 3, "intents": 24, "waves": 1, "many": 24}
CHAOS_S, SEED = 18, 303  # one of each kind, and the supervisor is killed amid the swap


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMES)
@pytest.mark.fault("F16")
def test_nothing_is_seen_that_must_not_be(spark: SparkSession, tmp_path: pathlib.Path, name: str) -> None:
    show, _ = SHOWS[name]
    assert show(spark, tmp_path, TIMES[name]) == []


@pytest.mark.slow
@pytest.mark.fault("F1", "F3", "F15", "F16")
def test_faults_of_all_kinds_at_once_cost_no_row(spark: SparkSession, tmp_path: pathlib.Path) -> None:
    assert chaos(spark, tmp_path, CHAOS_S, SEED) == []
