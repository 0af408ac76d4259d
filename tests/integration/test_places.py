# SPDX-License-Identifier: Apache-2.0
"""Where a model is called from: cached queries, functions on executors, views, SQL functions."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pandas as pd
import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.pandas.functions import pandas_udf

import sparkmodel as sm
from tests.models import FactorModel as Times

SMALL = {"result_type": "double", "num_cpus": 0.1}


@pytest.fixture(scope="module")
def shared(spark: SparkSession) -> Iterator[SparkSession]:
    """A session with the table `places`, of x = 1 and 2, and models that multiply by 2 (Python's), 3 and 4 (SQL's)."""
    spark.sql("CREATE TABLE places AS SELECT * FROM VALUES (1D), (2D) AS t(x)").collect()
    code = "class Model:\n    def predict(self, frame):\n        return frame.iloc[:, 0] * {}\n"
    model = sm.register(spark, "by_2", Times(2.0), **SMALL)
    for kind, factor in (("TEMPORARY", 3), ("", 4)):
        spark.sql(
            f"CREATE {kind} MODEL by_{factor} INPUT (x DOUBLE) RETURNS DOUBLE USING python OPTIONS (num_cpus = 0.1) "
            f"AS $${code.format(float(factor))}$$"
        ).collect()
    yield spark
    spark.sql("DROP MODEL by_3 FORCE").collect()
    spark.sql("DROP MODEL by_4 FORCE").collect()
    model.drop()
    spark.sql("DROP TABLE places").collect()


@pytest.fixture(scope="module")
def table(shared: SparkSession) -> DataFrame:
    return shared.table("places").coalesce(1)


def values(spark: SparkSession, query: str) -> list[float]:
    return sorted(row[0] for row in spark.sql(query).collect())


# what Spark has cached


@pytest.fixture
def moving(shared: SparkSession) -> Iterator[sm.Model]:
    """A model that is moved, which is the functions `moving` and `also`, the latter with rows at fault as NULL."""
    model = sm.register(shared, "moving", Times(5.0), **SMALL)
    model.register_as(shared, "also", on_error="null")
    yield model
    model.drop()
    shared.sql("DROP TEMPORARY FUNCTION IF EXISTS also")
    shared.catalog.clearCache()


def cached(spark: SparkSession, name: str) -> str:
    query = f"SELECT {name}(x) FROM places"
    spark.sql(query).cache().count()
    return query


MOVES: dict[str, Callable[[SparkSession, sm.Model], object]] = {
    "update": lambda spark, model: model.update(Times(7.0)),
    "update of another object": lambda spark, model: sm.get(model.name).update(Times(7.0)),
    "register": lambda spark, model: sm.register(spark, model.name, Times(7.0), replace=True, **SMALL),
    "ALTER MODEL": lambda spark, model: (model.update(Times(7.0)).rollback(), spark.sql("ALTER MODEL moving ROLLBACK")),
}


@pytest.mark.parametrize(("path", "move"), [*(("bridge", move) for move in MOVES), ("python", "update")])
def test_the_same_text_after_a_move_has_the_new_values(
    shared: SparkSession, moving: sm.Model, move: str, path: str, request: pytest.FixtureRequest
) -> None:
    if path == "python":
        request.getfixturevalue("python_path")
    other = shared.newSession()
    sm.get("moving", other)
    queries = [
        (spark, cached(spark, name)) for spark, name in ((shared, "moving"), (shared, "also"), (other, "moving"))
    ]
    column = shared.table("places").select(moving("x"))
    column.cache().count()
    assert [values(spark, query) for spark, query in queries] == [[5.0, 10.0]] * 3
    MOVES[move](shared, moving)
    assert [values(spark, query) for spark, query in queries] == [[7.0, 14.0]] * 3
    assert sorted(row[0] for row in shared.table("places").select(moving("x")).collect()) == [7.0, 14.0]
    assert sorted(row[0] for row in column.collect()) == [5.0, 10.0], "what was cached is kept, as by any cache"
    moving.rollback()
    assert [values(spark, query) for spark, query in queries] == [[5.0, 10.0]] * 3


def test_a_temporary_model_of_sql_that_is_altered(shared: SparkSession) -> None:
    query = cached(shared, "by_3")
    before = shared.sql(query)._jdf.queryExecution().withCachedData().toString()
    assert "InMemoryRelation" in before
    shared.sql("ALTER MODEL by_3 SET OPTIONS (timeout = '50s')").collect()
    after = shared.sql(query)._jdf.queryExecution().withCachedData().toString()
    assert "InMemoryRelation" not in after
    assert values(shared, query) == [3.0, 6.0]


def test_a_function_that_took_the_name_is_left_alone(shared: SparkSession, moving: sm.Model) -> None:
    shared.udf.register("moving", lambda x: -x, "double")
    moving.update(Times(9.0))
    assert values(shared, "SELECT moving(x) FROM places") == [-2.0, -1.0]
    assert values(shared, "SELECT also(x) FROM places") == [9.0, 18.0]
    moving.drop()
    assert values(shared, "SELECT moving(x) FROM places") == [-2.0, -1.0]
    shared.sql("DROP TEMPORARY FUNCTION moving")
    newer = sm.register(shared, "moving", Times(6.0), **SMALL)
    moving.drop()  # a second time: the name is another model's now
    assert values(shared, "SELECT moving(x) FROM places") == [6.0, 12.0]
    newer.drop()


# functions on executors


def predict(model: sm.Model) -> dict[str, Callable[[DataFrame], list[Row]]]:
    """`model.predict` within each kind of function that Spark runs in its Python workers."""
    schema = "x double, y double"
    return {
        "RDD": lambda df: df.rdd.map(lambda row: Row(x=row.x, y=model.predict([{"x": row.x}])[0])).collect(),
        "mapInPandas": lambda df: df.mapInPandas(
            lambda frames: (d.assign(y=model.predict(d)) for d in frames), schema
        ).collect(),
        "applyInPandas": lambda df: df.groupBy("x").applyInPandas(
            lambda d: d.assign(y=model.predict(d, params=None, on_error="null")), schema
        ).collect(),
        "pandas_udf": lambda df: df.withColumn(
            "y", pandas_udf(lambda x: model.predict(pd.DataFrame({"x": x})), "double")("x")
        ).collect(),
    }  # fmt: skip


@pytest.mark.parametrize("place", predict(None))  # type: ignore[arg-type]
def test_predict_within_a_function_on_executors(table: DataFrame, place: str) -> None:
    rows = predict(sm.get("by_2"))[place](table)
    assert sorted(tuple(row) for row in rows) == [(1.0, 2.0), (2.0, 4.0)]


def test_within_foreach_batch(shared: SparkSession, tmp_path: pathlib.Path) -> None:
    model, seen = sm.get("by_2"), []

    def keep(batch: DataFrame, number: int) -> None:
        scored = batch.mapInPandas(lambda it: (d.assign(y=model.predict(d[["x"]])) for d in it), "x double, y double")
        seen.extend(tuple(row) for row in scored.collect())
        seen.extend((row.x, row.y) for row in batch.select("x", model("x").alias("y")).collect())

    files = tmp_path / "x"
    shared.table("places").write.parquet(str(files))
    query = shared.readStream.schema("x double").parquet(str(files)).writeStream.foreachBatch(keep)
    query.trigger(availableNow=True).start().awaitTermination()
    assert sorted(seen) == [(1.0, 2.0), (1.0, 2.0), (2.0, 4.0), (2.0, 4.0)]


# views and SQL functions

NAMES = {"by_2": 2.0, "by_3": 3.0, "by_4": 4.0}


@pytest.mark.parametrize("name", NAMES)
def test_views_and_sql_functions_around_a_model(shared: SparkSession, name: str) -> None:
    by, others = NAMES[name], shared.newSession()
    statements = {
        f"CREATE FUNCTION kept(x DOUBLE) RETURNS DOUBLE "
        f"RETURN {name}(x) + (SELECT max({name}(y)) FROM VALUES (1D) u(y))":
            "SELECT kept(x) FROM places",
        f"CREATE FUNCTION tabled(x DOUBLE) RETURNS TABLE (y DOUBLE) RETURN SELECT {name}(x) + {by}":
            "SELECT y FROM places, LATERAL tabled(x)",
        f"CREATE VIEW viewed AS WITH c AS (SELECT {name}(x) AS y, '{name}(x)' AS s FROM places) "
        f"SELECT y + {name}((SELECT min(x) FROM places)) AS y, s FROM c": "SELECT y FROM viewed",
        f"ALTER VIEW viewed AS SELECT {name}(*) + {name} ( 1 ) AS y FROM places": "SELECT y FROM viewed",
        f"CREATE TEMPORARY FUNCTION brief(x DOUBLE) RETURNS DOUBLE RETURN {name}(x) + {by}":
            "SELECT brief(x) FROM places",
        f"CREATE TEMPORARY VIEW seen AS SELECT {name}(x) + {name}(x => 1) AS y FROM places": "SELECT y FROM seen",
    }  # fmt: skip
    try:
        for statement, query in statements.items():
            shared.sql(statement).collect()
            assert values(shared, query) == [2 * by, 3 * by], statement
            if "TEMPORARY" in statement:
                continue
            if name == "by_3":  # its session's own
                with pytest.raises(Exception, match=r"\[MODEL_NOT_FOUND\] Cannot call model 'by_3': there is no such"):
                    others.sql(query)
            else:
                assert values(others, query) == [2 * by, 3 * by], statement
    finally:
        for thing in ("FUNCTION kept", "FUNCTION tabled", "VIEW viewed", "TEMPORARY FUNCTION brief", "VIEW seen"):
            shared.sql(f"DROP {thing.replace(' ', ' IF EXISTS ') if 'TEMP' not in thing else thing}")


def test_a_view_whose_model_is_gone_says_so(shared: SparkSession, moving: sm.Model) -> None:
    shared.sql("CREATE VIEW left_over AS SELECT moving(x) AS y FROM places")
    try:
        assert values(shared, "SELECT y FROM left_over") == [5.0, 10.0]
        moving.drop()
        with pytest.raises(Exception, match=r"\[MODEL_NOT_FOUND\] Cannot call model 'moving': there is no such model"):
            shared.sql("SELECT y FROM left_over")
        sm.register(shared, "moving", Times(8.0), **SMALL)
        assert values(shared, "SELECT y FROM left_over") == [8.0, 16.0]
        sm.unregister(shared, "moving")
    finally:
        shared.sql("DROP VIEW left_over")
