# SPDX-License-Identifier: Apache-2.0
"""How many rows a query scores, with each rule and without."""

from __future__ import annotations

import pytest

from tests.integration.planner.counted import MANY, RULES, Counted


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
    assert counted.check(query, rows)[0] == without


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
    assert counted.check(query, *scored, off=RULES) == without


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
    assert counted.check(query, *scored, off=("conditional",)) == without


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
        "(SELECT x, f(x) AS p FROM (SELECT y AS x FROM d) ORDER BY p LIMIT 4))",
        (1010, 0),
        (1034, 0),
    ),
}


@pytest.mark.parametrize("shape", REUSE)
def test_a_call_that_is_written_twice_is_made_once(counted: Counted, shape: str) -> None:
    query, scored, without = REUSE[shape]
    assert counted.check(query, *scored, off=("reuse",)) == without


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


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ("SELECT id, p FROM many_v WHERE p > 100 LIMIT 10", 1000),
        ("SELECT y FROM d WHERE EXISTS (SELECT 1 FROM many WHERE f(x) > 100)", 2000),
        ("SELECT id, p, g(x) FROM many_v WHERE p > 100 AND g(x) > 9 LIMIT 400", 4000),
    ],
)
def test_a_few_rows_cost_a_few_hundred(counted: Counted, query: str, most: int) -> None:
    rows, *scored = counted.run(query)
    assert len(rows) in (10, 400)
    assert scored[0] <= most


@pytest.mark.parametrize("adaptive", ["true", "false"])
def test_many_first_rows_are_scored_in_several_tasks(counted: Counted, adaptive: str) -> None:
    query = "SELECT id, f(x) AS p FROM many ORDER BY id DESC LIMIT 60000"
    with counted.set(**{"spark.sql.adaptive.enabled": adaptive}):
        frame = counted.spark.sql(query)
        plan = frame._jdf.queryExecution().executedPlan().toString()
        before = counted.scored()[0]
        assert [row.id for row in frame.collect()] == list(range(MANY - 1, MANY - 60001, -1))
        assert counted.scored()[0] - before == 60000
    assert plan.index("Sort") < plan.index("ModelScore") < plan.index("RoundRobinPartitioning")


def test_calls_side_by_side_are_one_operator(counted: Counted) -> None:
    shown = ", ".join(f"f(x + {i}) AS c{i}, g(k + {i}) AS d{i}" for i in range(9))
    query = f"SELECT id, {shown}, g(f(x)) AS above, CASE WHEN k > 3 THEN f(k) END AS some FROM t"
    plan = counted.spark.sql(query)._jdf.queryExecution().executedPlan().toString()
    assert plan.count("ModelScore") == 2
    counted.check(query, 10 * 1000 + 600, 10 * 1000)
    conditions = " AND ".join(f"c{i} > {i}" for i in range(9))  # each is true of 949 rows
    counted.check(f"SELECT * FROM ({query}) WHERE {conditions}", 1000 + 9 * 949 + 570, 10 * 949)
    with counted.set(**{"spark.sparkmodel.bridge.enabled": "false"}):
        assert len(counted.run(query)[0]) == 1000


@pytest.mark.parametrize("shape", JOIN)
def test_a_join_does_not_multiply_scoring(counted: Counted, shape: str) -> None:
    query, scored, without = JOIN[shape]
    assert counted.check(query, *scored, off=("join",)) == without
