# SPDX-License-Identifier: Apache-2.0
"""A few of the plans of `python -m tests.fuzz`: the same ones in each run."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from tests.fuzz.__main__ import plans


@pytest.mark.slow
def test_sixty_plans_go_either_way(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = list(plans(spark.newSession(), tmp_path_factory.mktemp("fuzz"), seed=11, first=0, count=60))
    assert len(found) == 60
    assert [text for text in found if text is not None] == []
