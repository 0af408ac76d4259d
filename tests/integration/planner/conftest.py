# SPDX-License-Identifier: Apache-2.0
"""One session, with its tables and models, for all tests of the planner rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.fuzz.ways import refused
from tests.integration.planner.counted import MANY, ROWS, Counted, minus_50, twice


@pytest.fixture(scope="package")
def bridge_spark(spark: SparkSession) -> SparkSession:
    return spark.newSession()  # with the bridge, and no view or setting of other tests


@pytest.fixture(autouse=True)
def no_rule_is_refused(spark: SparkSession) -> Iterator[None]:
    """No rule makes a plan that has to be thrown away."""
    before = refused(spark)
    yield
    assert refused(spark) == before


@pytest.fixture(scope="package")
def counted(bridge_spark: SparkSession) -> Iterator[Counted]:
    spark = bridge_spark
    models = [
        sm.register(spark, name, (lambda: None, predict), result_type="double", num_cpus=0.5)
        for name, predict in [("f", minus_50), ("g", twice)]
    ]
    t = spark.range(ROWS, numPartitions=2).selectExpr("id", "cast(id AS double) AS x", "id % 10 AS k")
    t.write.saveAsTable("t")
    spark.range(10).selectExpr("id AS k", "cast(id AS double) AS y").write.saveAsTable("d")
    spark.range(3, 7).selectExpr("id AS k", "cast(id AS double) AS y").write.saveAsTable("few")
    spark.sql("SELECT id, k, array(id, 2 * id) AS arr FROM t WHERE id < 200").write.saveAsTable("arrs")
    spark.range(MANY).selectExpr("id", "cast(id AS double) AS x").write.saveAsTable("many")
    spark.sql("CREATE TEMPORARY VIEW v AS SELECT *, f(x) AS p FROM t")
    spark.sql("CREATE TEMPORARY VIEW many_v AS SELECT *, f(x) AS p FROM many")
    yield Counted(spark, *models)
    for model in models:
        model.drop()
    for table in ("t", "d", "few", "arrs", "many"):
        spark.sql(f"DROP TABLE {table}")
