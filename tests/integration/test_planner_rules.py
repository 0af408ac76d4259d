# SPDX-License-Identifier: Apache-2.0
"""The bridge's planner rules: how many rows a query scores, and that its result is the same without the rules."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Callable, Iterator

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

import sparkmodel as sm

NO_RULE = {"spark.sql.optimizer.excludedRules": "io.sparkmodel.plan.ScoreOnce"}
RULES = ("scoreOnce", "conditional", "reuse", "join")
ROWS = 1000  # of table t; 56 of them have f(x) <= 5, and 49 have f(x) > 900
MANY = 100_000


@pytest.fixture(scope="session")
def bridge_spark(spark: SparkSession) -> SparkSession:
    return spark.newSession()  # with the bridge, and no view or setting of other tests


def minus_50(_: None, data: pd.DataFrame) -> pd.Series:
    return data.iloc[:, 0].astype("float64").fillna(7.0) - 50  # a NULL does not give NULL


def twice(_: None, data: pd.DataFrame) -> pd.Series:
    return data.iloc[:, 0].astype("float64").fillna(-1.0) * 2


class Counted:
    """A session with the models f and g, and how many rows each has scored."""

    def __init__(self, spark: SparkSession, f: sm.Model, g: sm.Model) -> None:
        self.spark, self.f, self.g = spark, f, g

    def scored(self) -> tuple[int, int]:
        return self.f.stats()["rows"], self.g.stats()["rows"]

    def run(self, query: str | Callable[[], DataFrame], off: tuple[str, ...] = ()) -> tuple[list[str], int, int]:
        """The rows of a query as text, in some order, and how many rows f and g have scored for it."""
        return self._run(query, {f"spark.sparkmodel.rules.{rule}": "false" for rule in off})

    def plain(self, query: str | Callable[[], DataFrame]) -> tuple[list[str], int, int]:
        """The same with Spark's own rules only."""
        return self._run(query, NO_RULE)

    def _run(self, query: str | Callable[[], DataFrame], conf: dict[str, str]) -> tuple[list[str], int, int]:
        with self.set(**conf):
            before = self.scored()
            frame = self.spark.sql(query) if isinstance(query, str) else query()
            rows = sorted(map(str, frame.collect()))
            after = self.scored()
        return rows, after[0] - before[0], after[1] - before[1]

    def check(self, query: str | Callable[[], DataFrame], f: int, g: int = 0) -> None:
        rows, *scored = self.run(query)
        assert scored == [f, g]
        assert rows == self.plain(query)[0]

    @contextlib.contextmanager
    def set(self, **values: str) -> Iterator[None]:
        for key, value in values.items():
            self.spark.conf.set(key, value)
        try:
            yield
        finally:
            for key in values:
                self.spark.conf.unset(key)


@pytest.fixture(scope="module")
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
    spark.range(MANY).selectExpr("id", "cast(id AS double) AS x").write.saveAsTable("many")
    spark.sql("CREATE TEMPORARY VIEW v AS SELECT *, f(x) AS p FROM t")
    spark.sql("CREATE TEMPORARY VIEW many_v AS SELECT *, f(x) AS p FROM many")
    yield Counted(spark, *models)
    for model in models:
        model.drop()
    for table in ("t", "d", "few", "many"):
        spark.sql(f"DROP TABLE {table}")


@pytest.mark.parametrize(
    ("query", "rows", "without"),
    [
        ("SELECT id FROM many WHERE f(x) > 5", MANY, MANY),
        ("SELECT id, f(x) FROM many WHERE f(x) > 5", MANY, 2 * MANY - 56),
        ("SELECT id, f(x) AS q FROM many WHERE f(x) > 5 AND f(x) < 99", MANY, MANY + 93),
        ("SELECT id, p FROM many_v WHERE p > 5", MANY, 2 * MANY - 56),
        ("SELECT id, p FROM many_v WHERE p > 5 AND id < 200", 200, 344),
        ("SELECT id, p FROM many_v WHERE id < 10", 10, 10),
        ("SELECT id, CASE WHEN id < 10 THEN f(x) END FROM many", 10, MANY),
    ],
)
def test_a_hundred_thousand_rows(counted: Counted, query: str, rows: int, without: int) -> None:
    counted.check(query, rows)
    assert counted.plain(query)[1] == without


# each query with the rows that f and g score, and those that they score with the rule off
SCORE_ONCE = {
    "filter and projection": ("SELECT id, f(x) FROM t WHERE f(x) > 5", (1000, 0), (1944, 0)),
    "view": ("SELECT id, p FROM v WHERE p > 5", (1000, 0), (1944, 0)),
    "other filters first": ("SELECT id, f(x) FROM t WHERE f(x) > 5 AND id < 100", (100, 0), (144, 0)),
    "limit between": (
        "SELECT id, f(x) FROM (SELECT * FROM t WHERE f(x) > 5 ORDER BY id LIMIT 9)",
        (1000, 0),
        (2009, 0),
    ),
    "order by a column": ("SELECT id, p FROM v ORDER BY id", (1000, 0), (2000, 0)),
    "order by after a join": ("SELECT id, f(x), y FROM t JOIN d USING (k) ORDER BY id", (1000, 0), (2000, 0)),
    "first rows": ("SELECT id, p FROM v ORDER BY id LIMIT 10", (10, 0), (1000, 0)),
    "rows after the first": ("SELECT id, p, k + 1 AS l FROM v ORDER BY l, id LIMIT 10 OFFSET 5", (10, 0), (1000, 0)),
    "first rows by prediction": ("SELECT id, p FROM v WHERE p > 900 ORDER BY p DESC LIMIT 3", (1000, 0), (1049, 0)),
    "limit": ("SELECT id, p FROM v LIMIT 10", (10, 0), (10, 0)),
    "order by": ("SELECT id FROM t WHERE f(x) > 900 ORDER BY f(x) DESC", (1000, 0), (2098, 0)),
    "distinct": ("SELECT DISTINCT f(x) FROM t WHERE f(x) > 5", (1000, 0), (1944, 0)),
    "argument of an aggregate": ("SELECT k, sum(f(x)) FROM t WHERE f(x) > 5 GROUP BY k", (1000, 0), (1944, 0)),
    "grouping": ("SELECT f(x) > 99, count(*) FROM t WHERE f(x) > 5 GROUP BY f(x) > 99", (1000, 0), (1944, 0)),
    "distinct aggregates": (
        "SELECT count(DISTINCT f(x)), count(DISTINCT k) FROM t WHERE f(x) > 5",
        (1000, 0),
        (1944, 0),
    ),
    "cube": ("SELECT k, sum(f(x)) FROM t WHERE f(x) > 5 GROUP BY CUBE (k)", (1000, 0), (2888, 0)),
    "window": (
        "SELECT id, rank() OVER (PARTITION BY k ORDER BY f(x)) FROM t WHERE f(x) > 900",
        (1000, 0),
        (1049, 0),
    ),
    "generator": ("SELECT id, explode(array(f(x), 1)) FROM t WHERE f(x) > 900", (1000, 0), (1049, 0)),
    "union": (
        "SELECT max(f(x)) FROM (SELECT id, x FROM t UNION ALL SELECT k, y FROM d) WHERE f(x) > 900",
        (1010, 0),
        (1059, 0),
    ),
    "intersection": (
        "SELECT id, f(x) FROM t WHERE f(x) > 5 INTERSECT SELECT id, f(x) FROM t WHERE f(x) < 500",
        (2000, 0),
        (3494, 0),
    ),
    "join": ("SELECT id, f(x), y FROM t JOIN d USING (k) WHERE f(x) > 900", (1000, 0), (1049, 0)),
    "left join": ("SELECT id, f(x), y FROM t LEFT JOIN few USING (k) WHERE f(x) > 900", (1000, 0), (1049, 0)),
    "right join": ("SELECT id, f(x), y FROM few RIGHT JOIN t USING (k) WHERE f(x) > 900", (1000, 0), (1049, 0)),
    "semi join": ("SELECT id, f(x) FROM t LEFT SEMI JOIN few USING (k) WHERE f(x) > 900", (1000, 0), (1020, 0)),
    "anti join": ("SELECT id, f(x) FROM t LEFT ANTI JOIN few USING (k) WHERE f(x) > 900", (1000, 0), (1029, 0)),
    "of both sides of a join": (
        "SELECT id, f(x + y) FROM t JOIN d USING (k) WHERE f(x + y) > 900",
        (1000, 0),
        (1053, 0),
    ),
    "in a join's condition": (
        "SELECT id, f(x) FROM t JOIN d ON t.k = d.k AND f(x) > 100 * y",
        (1000, 0),
        (1499, 0),
    ),
    "inferred for the other side": (
        "SELECT a.id FROM t a JOIN t b ON a.id = b.id WHERE f(a.id) > 5",
        (1000, 0),
        (2000, 0),
    ),
    "inferred for the side that is shown": (
        "SELECT f(b.id) FROM t a JOIN t b ON a.id = b.id WHERE f(a.id) > 5",
        (1000, 0),
        (2944, 0),
    ),
    "in a subquery": ("SELECT y FROM d WHERE y < (SELECT max(f(x)) FROM t WHERE f(x) < 3)", (1000, 0), (1053, 0)),
    "in (subquery)": ("SELECT id, f(x) FROM t WHERE f(x) IN (SELECT y FROM d)", (1000, 0), (1010, 0)),
    "from (subquery)": (
        "SELECT y FROM d WHERE k IN (SELECT k FROM t WHERE f(x) > 5 AND f(x) < 9)",
        (1000, 0),
        (1000, 0),
    ),
    "common table expression": (
        "WITH c AS (SELECT id, f(x) AS p FROM t) SELECT * FROM c WHERE p > 5",
        (1000, 0),
        (1944, 0),
    ),
    "one model over another": ("SELECT id, g(f(x)) FROM t WHERE f(x) > 5 AND g(f(x)) < 99", (1000, 944), (1044, 988)),
    "two conditions": ("SELECT id FROM t WHERE f(x) > 900 AND g(x) > 1950", (1000, 49), (1000, 49)),
    "nothing overtakes chance": ("SELECT id, f(x) FROM t WHERE rand(1) < 2 AND f(x) > 900", (1000, 0), (1049, 0)),
    "repartitioned": ("SELECT /*+ REPARTITION(3, id) */ id, f(x) FROM t WHERE f(x) > 900", (1000, 0), (1049, 0)),
    "struct": ("SELECT id, f(struct(x, k)) FROM t WHERE f(struct(x, k)) > 900", (1000, 0), (1049, 0)),
    "expression that has a name by then": (
        "SELECT z, f(z) FROM (SELECT id, x + 1 AS z FROM t ORDER BY id LIMIT 100) WHERE f(z) > 5 AND f(z) < 20",
        (100, 0),
        (114, 0),
    ),
}


@pytest.mark.parametrize("shape", SCORE_ONCE)
def test_a_filter_on_a_prediction_scores_each_row_once(counted: Counted, shape: str) -> None:
    query, scored, without = SCORE_ONCE[shape]
    counted.check(query, *scored)
    assert counted.run(query, off=RULES)[1:] == without


CONDITIONAL = {
    "case": ("SELECT id, CASE WHEN id < 10 THEN f(x) END FROM t", (10, 0), (1000, 0)),
    "if": ("SELECT id, if(id < 10, f(x), k) FROM t", (10, 0), (1000, 0)),
    "either model": ("SELECT id, if(k < 3, f(x), g(x)) FROM t", (300, 700), (1000, 1000)),
    "coalesce": ("SELECT id, coalesce(nullif(k, 3), f(x)) FROM t", (100, 0), (1000, 0)),
    "or": ("SELECT id FROM t WHERE id < 10 OR f(x) > 900", (990, 0), (1000, 0)),
    "or, the other way round": ("SELECT id FROM t WHERE f(x) > 900 OR id < 10", (990, 0), (1000, 0)),
    "not and": ("SELECT id FROM t WHERE NOT (id < 900 AND f(x) > 3)", (900, 0), (1000, 0)),
    "and in a projection": ("SELECT id, k = 1 AND f(x) > 3 FROM t", (100, 0), (1000, 0)),
    "null is not false": ("SELECT id, nullif(k, 1) = 2 AND f(x) > 3 FROM t", (200, 0), (1000, 0)),
    "null is not true": ("SELECT id, nullif(k, 1) = 2 OR f(x) > 3 FROM t", (900, 0), (1000, 0)),
    "null is no case": ("SELECT id, CASE WHEN nullif(k, 1) > 5 THEN k ELSE f(x) END FROM t", (600, 0), (1000, 0)),
    "several branches": (
        "SELECT id, CASE WHEN f(x) > 900 THEN g(x) WHEN id < 10 THEN f(x) + 1 ELSE 0 END FROM t",
        (1000, 49),
        (1000, 1000),
    ),
    "nested": ("SELECT id, CASE WHEN k < 5 THEN CASE WHEN k > 3 THEN f(x) END END FROM t", (100, 0), (1000, 0)),
    "two cases of one call": (
        "SELECT id, CASE WHEN k = 1 THEN f(x) END, CASE WHEN k = 2 THEN f(x) + 1 END FROM t",
        (200, 0),
        (1000, 0),
    ),
    "wanted without a condition as well": (
        "SELECT id, CASE WHEN k = 1 THEN f(x) END, f(x) FROM t",
        (1000, 0),
        (1000, 0),
    ),
    "a call in the argument": ("SELECT id, CASE WHEN k = 1 THEN g(f(x)) END FROM t", (100, 100), (1000, 1000)),
    "a call in the condition": ("SELECT id, CASE WHEN f(x) > 900 THEN g(x) END FROM t", (1000, 49), (1000, 1000)),
    "the same call in the condition": (
        "SELECT id, CASE WHEN k = 1 AND f(x) > 3 AND f(x) < 30 THEN f(x) END FROM t",
        (100, 0),
        (1000, 0),
    ),
    "conditions that wait for each other": (
        "SELECT id, CASE WHEN k = 1 OR (k = 2 AND g(x) > 3) THEN f(x) WHEN f(x) > 3 AND k < 7 THEN g(x) END FROM t",
        (700, 600),
        (1000, 1000),
    ),
    "aggregate with a filter": ("SELECT k, sum(f(x)) FILTER (WHERE id < 10) FROM t GROUP BY k", (10, 0), (1000, 0)),
    "case in an aggregate": ("SELECT sum(CASE WHEN id < 10 THEN f(x) END) FROM t", (10, 0), (1000, 0)),
    "case of groups": ("SELECT k, CASE WHEN k < 3 THEN f(k) END FROM t GROUP BY k", (3, 0), (10, 0)),
    "join": ("SELECT * FROM t LEFT JOIN d ON t.k = d.k AND (t.id < 10 OR f(t.x) > 9)", (990, 0), (1000, 0)),
    "conditions one after the other": (
        "SELECT id FROM t WHERE (id < 10 OR f(x) > 900) AND (id < 20 OR g(x) > 1900) AND k = 1",
        (99, 5),
        (100, 6),
    ),
    "filter on the outcome": (
        "SELECT id, p FROM (SELECT id, CASE WHEN k < 3 THEN f(x) END AS p FROM t) WHERE p > 5",
        (300, 0),
        (1000, 0),
    ),
    "wanted by two operators": (
        "SELECT id, CASE WHEN k = 1 THEN f(x) END FROM t WHERE k < 5 OR f(x) > 900",
        (600, 0),
        (1000, 0),
    ),
    "wanted by two operators, by one of them for all": (
        "SELECT id, f(x) FROM t WHERE id < 10 OR f(x) > 900",
        (1000, 0),
        (1000, 0),
    ),
    "chance": ("SELECT id, CASE WHEN rand() < 2 AND id < 10 THEN f(x) END FROM t", (10, 0), (1000, 0)),
    "only chance": ("SELECT id, CASE WHEN rand() < 2 THEN f(x) END FROM t", (1000, 0), (1000, 0)),
    "a condition that fails elsewhere": (
        "SELECT id, CASE WHEN id <> 500 AND 1 / (id - 500) > 0 THEN f(x) END FROM t",
        (499, 0),
        (1000, 0),
    ),
}


@pytest.mark.parametrize("shape", CONDITIONAL)
def test_rows_that_do_not_need_the_prediction_are_not_sent(counted: Counted, shape: str) -> None:
    query, scored, without = CONDITIONAL[shape]
    counted.check(query, *scored)
    assert counted.run(query, off=("conditional",))[1:] == without


REUSE = {
    "in a projection": ("SELECT f(x), f(x) + 1 FROM t", (1000, 0), (1000, 0)),
    "over a window": (
        "SELECT id, f(x), p FROM (SELECT *, f(x) AS p, lag(id) OVER (ORDER BY id) AS l FROM t) WHERE l < 100",
        (1000, 0),
        (1100, 0),
    ),
    "over a limit": (
        "SELECT id, f(x), p FROM (SELECT id, x, f(x) AS p FROM t ORDER BY p, id LIMIT 20)",
        (1000, 0),
        (1020, 0),
    ),
    "over a join": (
        "SELECT a.p, f(a.x), b.y FROM (SELECT k, x, f(x) AS p FROM t ORDER BY p, id LIMIT 20) a JOIN d b USING (k)",
        (1000, 0),
        (1020, 0),
    ),
    "over a union": (
        "SELECT max(f(x)) FROM ((SELECT x, f(x) AS p FROM t ORDER BY p, id LIMIT 20) UNION ALL "
        "(SELECT y, f(y) AS p FROM d ORDER BY p LIMIT 4))",
        (1010, 0),
        (1034, 0),
    ),
}


@pytest.mark.parametrize("shape", REUSE)
def test_a_call_that_is_written_twice_is_made_once(counted: Counted, shape: str) -> None:
    query, scored, without = REUSE[shape]
    counted.check(query, *scored)
    assert counted.run(query, off=("reuse",))[1:] == without


def test_functions_of_one_model_are_one(counted: Counted) -> None:
    spark, model = counted.spark, counted.f
    other = model("x")  # another function object than that of SQL
    counted.check(lambda: spark.table("t").where(other > 900).selectExpr("id", "f(x)"), 1000)
    counted.check(
        lambda: spark.table("t").withColumn("p", model("x")).where("f(x) > 900").select("id", model("x")), 1000
    )


JOIN = {
    "inner": ("SELECT id, f(y) FROM t JOIN d USING (k)", (10, 0), (1000, 0)),
    "aggregated": ("SELECT sum(f(y)) FROM t JOIN d USING (k)", (10, 0), (1000, 0)),
    "left": ("SELECT d.k, f(y) FROM d LEFT JOIN t USING (k)", (10, 0), (1000, 0)),
    "right": ("SELECT d.k, f(y) FROM t RIGHT JOIN d USING (k)", (10, 0), (1000, 0)),
    "cross": ("SELECT id, f(x) FROM t CROSS JOIN d", (1000, 0), (10000, 0)),
    "two joins": ("SELECT id, f(few.y) FROM t JOIN d USING (k) JOIN few USING (k)", (4, 0), (400, 0)),
    "cube": ("SELECT k, sum(f(x)) FROM t GROUP BY CUBE (k)", (1000, 0), (2000, 0)),
    "the larger side": ("SELECT id, f(x) FROM t JOIN d USING (k)", (1000, 0), (1000, 0)),
    "the larger side, filtered by the join": ("SELECT id, f(x) FROM t JOIN few USING (k)", (400, 0), (400, 0)),
    "the side with nulls": ("SELECT id, f(y) FROM t LEFT JOIN few USING (k)", (1000, 0), (1000, 0)),
    "full": ("SELECT t.k, f(y) FROM t FULL JOIN few USING (k)", (1000, 0), (1000, 0)),
    "both sides": ("SELECT id, f(x + y) FROM t JOIN d USING (k)", (1000, 0), (1000, 0)),
    "semi": ("SELECT k, f(y) FROM d LEFT SEMI JOIN few USING (k)", (4, 0), (4, 0)),
}


@pytest.mark.parametrize("shape", JOIN)
def test_a_join_does_not_multiply_scoring(counted: Counted, shape: str) -> None:
    query, scored, without = JOIN[shape]
    counted.check(query, *scored)
    assert counted.run(query, off=("join",))[1:] == without


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, f(b.y) FROM t LEFT JOIN (SELECT * FROM few WHERE f(y) > -46) b USING (k)",
        "SELECT t.k, f(a.y) FROM t FULL JOIN (SELECT * FROM few WHERE f(y) > -46) a USING (k)",
        "SELECT id FROM t LEFT ANTI JOIN few ON t.k = few.k AND f(few.y) > -45",
        "SELECT id FROM t WHERE k NOT IN (SELECT k FROM few WHERE f(y) > -45)",
        "SELECT id, f(x) FROM t WHERE x = (SELECT max(x) FROM t u WHERE u.k = t.k AND f(u.x) > 5)",
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM d WHERE d.y = f(t.x))",
        "SELECT k, x, f(x), count(*) FROM t GROUP BY k, x HAVING f(x) > 5",
        "SELECT k, sum(f(x)) FILTER (WHERE f(x) > 5), f(sum(x)), f(sum(x)) + k, f(k) FROM t GROUP BY k HAVING f(k) < 9",
        "SELECT k, f(k), grouping_id(), sum(f(x)) FROM t WHERE f(x) > 5 GROUP BY ROLLUP (k)",
        "SELECT * FROM (SELECT *, rank() OVER (PARTITION BY k ORDER BY f(x)) AS n FROM t) WHERE n = 1 AND f(x) > 5",
        "SELECT id, f(x) FROM t WHERE f(x) > 900 EXCEPT SELECT id, f(x) FROM t WHERE f(x) > 920",
        "SELECT f(1), f(NULL), count(*) FROM t WHERE f(2) < 5",
        "SELECT id, CASE WHEN id IN (SELECT k FROM d) THEN f(x) END FROM t",
        "SELECT * FROM (SELECT k, f(x) AS p FROM t WHERE f(x) > 5) PIVOT (sum(p) FOR k IN (1, 2))",
        "SELECT a.id, a.p, b.p FROM v a JOIN v b ON a.id = b.id + 1 WHERE a.p > 5 AND b.p < 100",
        "WITH c AS (SELECT id, k, f(x) AS p FROM t) SELECT a.p, b.p FROM c a JOIN c b ON a.id = b.k WHERE a.p < 0",
    ],
)
def test_results_are_the_same_without_the_rules(counted: Counted, query: str) -> None:
    expected, *without = counted.plain(query)
    rows, *scored = counted.run(query)
    assert rows == expected
    assert sum(scored) <= sum(without)


@pytest.mark.parametrize("setting", ["spark.sql.adaptive.enabled", "spark.sql.codegen.wholeStage"])
def test_without_adaptive_execution_or_code_generation(counted: Counted, setting: str) -> None:
    with counted.set(**{setting: "false"}):
        counted.check("SELECT id, f(x), y FROM t JOIN d USING (k) WHERE f(x) > 900 ORDER BY f(x)", 1000)
        counted.check("SELECT id, CASE WHEN id < 10 THEN f(x) END FROM t", 10)
        counted.check("SELECT sum(f(y)) FROM t JOIN d USING (k)", 10)


def test_frames(counted: Counted) -> None:
    t, model = counted.spark.table("t"), counted.f
    scored = t.withColumn("p", model("x"))
    counted.check(lambda: scored.where("p > 900").select("id", "p"), 1000)
    counted.check(lambda: scored.filter(f.col("p") > 900).filter("id < 960").groupBy("k").agg(f.max("p")), 960)
    counted.check(lambda: scored.where("p > 900").dropDuplicates(["p"]).sort("p").limit(5), 1000)
    counted.check(lambda: scored.where("p > 900").repartitionByRange(2, "id"), 1000)
    counted.check(lambda: t.select("id", f.when(f.col("id") < 10, model("x")).alias("p")), 10)


def test_cached_tables(counted: Counted) -> None:
    frame = counted.spark.sql("SELECT id, x, f(x) AS p FROM t WHERE f(x) > 900").cache()
    try:
        assert counted.run(lambda: frame)[1] == ROWS
        assert counted.run(lambda: frame.where("p > 920"))[1] == 0
        assert counted.run(lambda: frame.where("f(x) > 920").selectExpr("f(x)"))[1] == 49
    finally:
        frame.unpersist()


def test_a_write_scores_once(counted: Counted) -> None:
    write = "INSERT INTO written SELECT id, f(x) FROM t WHERE f(x) > 900 ORDER BY id"
    counted.spark.sql("CREATE TABLE written (id BIGINT, p DOUBLE) USING parquet")
    try:
        assert counted.run(write)[1] == ROWS
        assert counted.spark.table("written").count() == 49
    finally:
        counted.spark.sql("DROP TABLE written")


STREAMS: dict[str, tuple[Callable[[DataFrame], DataFrame], str, int]] = {
    "filter": (lambda s: s.where("f(x) > 900").selectExpr("id", "f(x) AS p"), "append", 1000),
    "stateful": (
        lambda s: s.where("f(x) > 900").withWatermark("at", "1 day").groupBy("k").agg(f.expr("max(f(x))").alias("p")),
        "complete",
        1000,
    ),
    "watermark above": (
        lambda s: s.withWatermark("at", "1 day").where("f(x) > 900").dropDuplicates(["id", "at"]).selectExpr("id", "k"),
        "append",
        1000,
    ),
    "static side": (
        lambda s: s.join(s.sparkSession.table("d"), "k").where("f(x) > 900").selectExpr("id", "f(x) AS p", "y"),
        "append",
        1000,
    ),
    "case": (lambda s: s.selectExpr("id", "CASE WHEN id < 10 THEN f(x) END AS p"), "append", 10),
}


@pytest.mark.parametrize("shape", STREAMS)
def test_streams(counted: Counted, tmp_path: pathlib.Path, shape: str) -> None:
    make, mode, scored = STREAMS[shape]
    spark = counted.spark
    data = str(tmp_path / "data")
    spark.table("t").selectExpr("*", "timestamp '2020-01-01' AS at").write.parquet(data)

    def collect(name: str) -> DataFrame:
        stream = spark.readStream.schema("id BIGINT, x DOUBLE, k BIGINT, at TIMESTAMP").parquet(data)
        query = make(stream).writeStream.format("memory").queryName(name).outputMode(mode)
        query.trigger(availableNow=True).option("checkpointLocation", str(tmp_path / name)).start().awaitTermination()
        return spark.table(name)

    rows, *counts = counted.run(lambda: collect("ruled"))
    assert counts == [scored, 0]
    assert rows == counted.run(lambda: collect("plain"), off=RULES)[0]


def test_a_join_of_streams_keeps_its_state(counted: Counted, tmp_path: pathlib.Path) -> None:
    """A query goes on from the checkpoint of one without the rules."""
    spark = counted.spark
    data = str(tmp_path / "data")

    def more(start: int) -> None:
        frame = spark.range(start, start + 100).selectExpr("id", "id * 1.0D AS x", "timestamp '2020-01-01' AS at")
        frame.write.mode("append").parquet(data)

    def advance(off: tuple[str, ...]) -> int:
        def run() -> DataFrame:
            sides = [spark.readStream.schema("id BIGINT, x DOUBLE, at TIMESTAMP").parquet(data) for _ in range(2)]
            left, right = (
                side.withWatermark("at", "1 day").alias(name) for side, name in zip(sides, "lr", strict=True)
            )
            joined = left.join(right, f.expr("l.id = r.id AND l.at = r.at")).where("f(l.x) > 5")
            writer = joined.selectExpr("l.id", "f(l.x) AS p").writeStream.format("parquet")
            writer = writer.option("path", str(tmp_path / "out")).option("checkpointLocation", str(tmp_path / "state"))
            writer.trigger(availableNow=True).start().awaitTermination()
            return spark.range(0)

        counted.run(run, off=off)
        return spark.read.parquet(str(tmp_path / "out")).count()

    more(0)
    assert advance(RULES) == 44
    more(100)
    assert advance(()) == 144


def test_the_python_path_gets_no_conditions(counted: Counted) -> None:
    with counted.set(**{"spark.sparkmodel.bridge.enabled": "false"}):
        counted.check("SELECT id, f(x) FROM t WHERE f(x) > 5", 1000)
        counted.check("SELECT id, CASE WHEN id < 10 THEN f(x) END FROM t", 1000)
        counted.check("SELECT id, g(f(y)) FROM t JOIN d USING (k) WHERE f(y) > -45 ORDER BY id", 10, 4)


def test_a_scan_reads_no_more_than_it_must(counted: Counted) -> None:
    query = "SELECT id, f(x) FROM t WHERE f(x) > 5 AND id < 100"
    physical = counted.spark.sql(query)._jdf.queryExecution().executedPlan().toString()
    assert "ReadSchema: struct<id:bigint,x:double>" in physical
    assert "PushedFilters: [IsNotNull(id), LessThan(id,100)]" in physical


def test_other_queries_are_left_alone(counted: Counted) -> None:
    def plan() -> str:
        return re.sub(r"#\d+", "#", counted.spark.sql(query)._jdf.queryExecution().optimizedPlan().toString())

    counted.spark.udf.register("plus", f.udf(lambda x: x + 1, "double"))
    query = "SELECT k, max(plus(x)) FROM t JOIN d USING (k) WHERE plus(x) > 5 GROUP BY k ORDER BY k"
    ruled = plan()
    with counted.set(**NO_RULE):
        assert plan() == ruled


def test_a_setting_that_is_no_boolean(counted: Counted) -> None:
    fact = r"\[INVALID_OPTION\] Cannot read setting 'spark.sparkmodel.rules.join': 'no' is not a boolean"
    with counted.set(**{"spark.sparkmodel.rules.join": "no"}), pytest.raises(PySparkException, match=fact):
        counted.spark.sql("SELECT f(x) FROM t").collect()


SOURCES = [
    "t",
    "v",
    "(SELECT t.id, t.x, t.k, y FROM t JOIN d USING (k))",
    "(SELECT t.id, t.x, few.k, y FROM t LEFT JOIN few ON t.k = few.k)",
    "(SELECT * FROM t UNION ALL SELECT k, y, k FROM d)",
    "(SELECT id, x, k, f(x) AS q FROM t ORDER BY k, id LIMIT 50)",
    "(SELECT max(id) AS id, max(x) AS x, k FROM t WHERE f(x) < 800 GROUP BY k)",
    "(SELECT id, x + 0 AS x, k, rank() OVER (PARTITION BY k ORDER BY f(x)) AS r FROM t)",
]
VALUES = st.sampled_from(["f(x)", "f(k)", "g(x)", "g(f(x))", "f(x + k)", "x", "k"])


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> str:
    kind = draw(st.sampled_from(["compare", "compare", "and", "or", "not", "null", "case"] if depth else ["compare"]))
    if kind == "compare":
        operator = draw(st.sampled_from(["<", ">", "="]))
        return f"{draw(VALUES)} {operator} {draw(st.sampled_from([-45, 3, 60, 900]))}"
    if kind == "not":
        return f"NOT ({draw(conditions(depth - 1))})"
    if kind == "null":
        return f"nullif(k, 3) > 1 OR {draw(VALUES)} IS NULL"
    if kind == "case":
        first, second = draw(conditions(depth - 1)), draw(conditions(depth - 1))
        return f"CASE WHEN {first} THEN {second} ELSE {draw(VALUES)} > 1 END"
    return f" {kind.upper()} ".join(f"({draw(conditions(depth - 1))})" for _ in range(2))


@st.composite
def queries(draw: st.DrawFn) -> str:
    values = draw(st.lists(VALUES | conditions().map("if({}, f(x), k)".format), min_size=1, max_size=3))
    shown = ["id", *(f"{value} AS c{i}" for i, value in enumerate(values))]
    where = f" WHERE {draw(conditions())}" if draw(st.booleans()) else ""
    query = f"SELECT {', '.join(shown)} FROM {draw(st.sampled_from(SOURCES))} AS s{where}"
    around = draw(
        st.sampled_from(
            [
                "{}",
                "{} ORDER BY c0, id",
                "{} ORDER BY id, c0 LIMIT 7",
                "SELECT DISTINCT c0 FROM ({})",
                "SELECT c0, count(*), max(f(id)) FROM ({}) GROUP BY c0 HAVING f(c0) < 100",
                "SELECT * FROM ({}) AS o JOIN d ON o.id = d.k WHERE f(d.y) < f(o.id) + 3",
                "SELECT id, f(id) FROM ({}) WHERE c0 IS NOT NULL AND f(id) > 0",
            ]
        )
    )
    return around.format(query)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=queries())
def test_any_query_has_the_same_result_without_the_rules(counted: Counted, query: str) -> None:
    expected, *without = counted.plain(query)
    rows, *scored = counted.run(query)
    assert rows == expected
    assert sum(scored) <= sum(without)
