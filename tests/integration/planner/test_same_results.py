# SPDX-License-Identifier: Apache-2.0
"""Whatever the query, its result is the same with the rules and without."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from tests.integration.planner.counted import NO_RULE, ROWS, RULES, Counted


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
        "SELECT id, n, CASE WHEN alarm THEN f(x) END FROM (SELECT id, x, k > 3 AND f(x) > 5 AS alarm, "
        "row_number() OVER (PARTITION BY k ORDER BY id) AS n FROM t)",
        "SELECT a.id, a.x, b.k, b.id, e FROM (SELECT * FROM t WHERE f(x) > 5) a JOIN arrs b ON a.id = b.id "
        "LATERAL VIEW explode(b.arr) z AS e WHERE f(a.x) > e - 60",
        "SELECT sum(f(x)), max(p) FROM (SELECT x, x AS p FROM t UNION ALL SELECT x, f(x) FROM t) WHERE f(x) > 3",
        "SELECT k, p, f(x) FROM (SELECT x, k, f(x) AS p FROM t UNION ALL SELECT y, k, f(y) FROM d) WHERE p > 3",
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
    max_examples=20,  # rows of generated plans without the rules are compared in test_fuzz too; what is scored, here
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
