# SPDX-License-Identifier: Apache-2.0
"""A few of the plans and signatures of `python -m tests.fuzz`: the same ones in each run."""

from __future__ import annotations

import pathlib

import pytest
from pyspark.sql import SparkSession

from tests.fuzz.__main__ import plans, signatures


@pytest.mark.slow
def test_some_plans_go_either_way(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = list(plans(spark.newSession(), tmp_path_factory.mktemp("fuzz"), seed=11, first=0, count=30))
    assert len(found) == 30
    assert [text for text in found if text is not None] == []


@pytest.mark.slow
def test_some_signatures_are_the_same_by_every_way(spark: SparkSession, tmp_path: pathlib.Path) -> None:
    found = list(signatures(spark.newSession(), tmp_path, seed=5, first=0, count=15))
    assert [text for text in found if text is not None] == []
