# SPDX-License-Identifier: Apache-2.0
"""Whoever takes the operator's batches of columns has them for as long as it needs them."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

import sparkmodel as sm
from tests.fuzz.ways import register_functions
from tests.integration.scripts import wait_until

BRIDGE = "spark.sparkmodel.bridge.enabled"
ROWS = 2000
# Each kind of Python function meets the batches of one source; to Spark's JVM those of pandas and of Arrow are one.
SOURCES = {
    "parquet": ("plus", "plus_pandas", "plus_arrow", "plus_iter"),
    "cached": ("plus", "plus_iter"),
    "many batches": ("plus", "plus_pandas"),
}


@pytest.fixture(scope="module", params=SOURCES)
def source(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SparkSession]:
    session = spark.newSession()
    home = str(tmp_path_factory.mktemp("columns") / "t")
    made = session.range(0, ROWS, 1, 2).selectExpr("id", "if(id % 7 = 3, NULL, id / 8) AS x", "concat('t', id) AS s")
    made.write.parquet(home)
    table = session.read.parquet(home)
    if request.param == "many batches":
        session.conf.set("spark.sql.parquet.columnarReaderBatchSize", "64")
        session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
    elif request.param == "cached":
        table = table.cache()
    table.createOrReplaceTempView("t")
    register_functions(session)
    model = sm.register(
        session, "side", lambda frame: frame.iloc[:, 0].fillna(-1.0) * 2.0, result_type="double", num_cpus=0.1
    )
    yield session
    model.drop()
    table.unpersist()


@pytest.fixture(scope="module")
def on_python_path() -> dict[str, list[str]]:
    """What was asked of the Python path: the rows of all sources are equal, so one source's will do."""
    return {}


def same_on_both_paths(
    session: SparkSession, make: Callable[[], DataFrame], what: str, on_python_path: dict[str, list[str]]
) -> None:
    def rows() -> list[str]:
        return sorted(map(str, make().collect()))

    found = rows()
    if what not in on_python_path:
        session.conf.set(BRIDGE, "false")
        try:
            on_python_path[what] = rows()
        finally:
            session.conf.unset(BRIDGE)
    assert found == on_python_path[what], what
    memory = session.sparkContext._jvm.org.apache.spark.sql.util.ArrowUtils.rootAllocator()
    wait_until(lambda: memory.getAllocatedMemory() == 0)


def test_python_functions_beside_above_and_below(
    source: SparkSession, request: pytest.FixtureRequest, on_python_path: dict[str, list[str]]
) -> None:
    for udf in SOURCES[request.node.callspec.params["source"]]:
        for query in (
            f"SELECT id, s, {udf}(x) AS u, side(x) AS p FROM t",
            f"SELECT id, s, x, {udf}(side({udf}(x))) AS p, side(id) AS q, {udf}(id) AS r FROM t",
            f"SELECT {udf}(p) AS u, p, s FROM (SELECT s, side(x) AS p FROM t UNION ALL SELECT s, side(id) FROM t)",
            f"SELECT max({udf}(side(x))), count(*) FROM t WHERE {udf}(x) > 3 AND side(x) < 300",
        ):
            same_on_both_paths(source, functools.partial(source.sql, query), query, on_python_path)


def test_other_consumers(source: SparkSession, tmp_path: pathlib.Path, on_python_path: dict[str, list[str]]) -> None:
    def scored() -> DataFrame:
        return source.sql("SELECT id, s, x, side(x) AS p, side(id) AS q FROM t")

    def as_pandas(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        yield from batches

    def as_arrow(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    def written() -> DataFrame:
        home = str(tmp_path / "written")
        scored().write.mode("overwrite").parquet(home)
        return source.read.parquet(home)

    def kept() -> DataFrame:
        frame = scored().cache()
        frame.count()
        local = source.createDataFrame(frame.collect(), frame.schema)
        frame.unpersist()
        return local

    schema = scored().schema
    consumers: dict[str, Callable[[], DataFrame]] = {
        "collect": scored,
        "a file": written,
        "the cache": kept,
        "mapInPandas": lambda: scored().mapInPandas(as_pandas, schema),
        "mapInArrow": lambda: scored().mapInArrow(as_arrow, schema),
        "repartition": lambda: scored().repartition(3, "s"),
        "union": lambda: scored().union(scored()),
        "a join": lambda: scored().join(scored().hint("broadcast"), "id"),
        "coalesce": lambda: scored().coalesce(1).selectExpr("id", "p + q"),
        "toArrow": lambda: source.createDataFrame(scored().toArrow()),
    }
    for what, make in consumers.items():
        same_on_both_paths(source, make, what, on_python_path)
