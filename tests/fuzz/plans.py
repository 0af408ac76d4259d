# SPDX-License-Identifier: Apache-2.0
"""Queries of any shape around calls of the models f and g, and around Python functions of others.

All relations have the columns id, x, k, p and q, so that any of them can stand in any other.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

COLUMNS = ("id", "x", "k", "p", "q")
TABLES = ("stored", "stored", "cached", "rows", "many_files")
UDFS = ("plus", "plus_pandas", "plus_arrow", "plus_iter")
SETTINGS = {
    "spark.sql.adaptive.enabled": ("true", "false"),
    "spark.sql.codegen.wholeStage": ("true", "true", "false"),
    "spark.sql.columnVector.offheap.enabled": ("false", "true"),
    "spark.sql.parquet.columnarReaderBatchSize": ("4096", "64"),
    "spark.sql.execution.arrow.maxRecordsPerBatch": ("10000", "50"),
    "spark.sql.autoBroadcastJoinThreshold": ("10485760", "-1"),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A query, and the settings of the session that it runs with."""

    query: str
    settings: dict[str, str]


class Plans:
    """Makes plans; equal seeds make equal plans."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._names = 0
        self._ctes: list[str] = []

    def plan(self) -> Plan:
        """The next plan."""
        self._names, self._ctes = 0, []
        query = self._outermost(self._relation(self._random.choice([0, 1, 1, 2, 2, 3])))
        with_ = f"WITH {', '.join(self._ctes)} " if self._ctes else ""
        return Plan(with_ + query, {key: self._random.choice(values) for key, values in SETTINGS.items()})

    # The parts that are drawn

    def _pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _name(self) -> str:
        self._names += 1
        return f"r{self._names}"

    def _number(self, of: str = "", depth: int = 2) -> str:
        """A DOUBLE over the columns of the relation with that prefix."""
        column = f"{of}{self._pick('x', 'x', 'k', 'p')}"
        if depth == 0:
            return f"double({column})"
        inner = self._number(of, depth - 1)
        return self._pick(
            f"f({inner})",
            f"f({column})",
            f"f({of}x)",
            f"g({of}x)",
            f"g({of}k)",
            f"{self._pick(*UDFS)}({inner})",
            f"f({self._pick(*UDFS)}(double({column})))",
            f"if({self._condition(of, depth - 1)}, {inner}, {self._number(of, depth - 1)})",
            f"CASE WHEN {of}q THEN f({of}x) END",
            f"CASE WHEN {of}q THEN {inner} ELSE {of}p END",
            f"coalesce({of}p, {inner})",
            f"f({of}x + {of}k)",
            f"({inner} + {self._number(of, depth - 1)})",
        )

    def _condition(self, of: str = "", depth: int = 2) -> str:
        if depth <= 0:
            return self._pick(f"{of}q", f"{of}k > 3", f"{of}p > 5", f"{of}id % 7 = 2", f"nullif({of}k, 3) > 1")
        return self._pick(
            f"{self._number(of, depth - 1)} {self._pick('<', '>', '=')} {self._pick('-45', '3', '60', '150')}",
            f"f({of}x) > {self._pick('-45', '3', '60', '150')}",
            f"{of}k > {self._pick('3', '6')} AND f({of}x) > {self._pick('5', '90')}",
            f"NOT ({self._condition(of, depth - 1)})",
            f"({self._condition(of, depth - 1)}) AND ({self._condition(of, depth - 1)})",
            f"({self._condition(of, depth - 1)}) OR ({self._condition(of, depth - 1)})",
            f"{self._number(of, depth - 1)} IS NULL",
            f"CASE WHEN {self._condition(of, depth - 1)} THEN {self._condition(of, depth - 1)} END",
        )

    def _where(self, of: str = "") -> str:
        return f" WHERE {self._condition(of)}" if self._random.random() < 0.5 else ""

    def _relation(self, depth: int) -> str:
        """Something to stand in brackets after FROM."""
        if depth == 0:
            table = self._pick(*TABLES)
            return self._pick(
                f"SELECT id, x, k, x + 1 AS p, k > 3 AS q FROM {table}",
                f"SELECT id, x, k, f(x) AS p, k > 3 AS q FROM {table}",
                f"SELECT id, x, k, x AS p, k > 3 AND f(x) > 5 AS q FROM {table}",
                f"SELECT id, x, k, {self._pick(*UDFS)}(x) AS p, id % 3 = 1 AS q FROM {table}",
                f"SELECT id, x, k, y AS p, k < 6 AS q FROM {table} JOIN d USING (k)",
                f"SELECT id, x, k, {self._beside()} AS p, {self._beside()} > 3 AS q FROM {table}",
                f"SELECT id, x, k, {self._beside()} AS p, {self._beside()} > 3 AS q FROM {table}",
            )
        productions: list[Callable[[int], str]] = [
            self._project,
            self._project,
            self._filter,
            self._join,
            self._half_join,
            self._generate,
            self._generate_of_join,
            self._generate_of_join,
            self._union,
            self._set_operation,
            self._group,
            self._expand,
            self._window,
            self._limit,
            self._lateral,
            self._subquery,
            self._common,
        ]
        return self._random.choice(productions)(depth - 1)

    def _beside(self) -> str:
        """Models and Python functions of others beside, above and below each other, with nothing between."""
        udf = self._pick(*UDFS)
        both = f"{udf}({self._pick(*UDFS)}(g(x)))"
        return self._pick(f"{udf}(x)", f"{udf}(f(x))", f"f({udf}(x))", "f(x)", "g(f(x))", both)

    # The productions, each a SELECT of the five columns

    def _project(self, depth: int) -> str:
        number, condition = self._number(), self._condition()
        return f"SELECT id, x, k, {number} AS p, {condition} AS q FROM ({self._relation(depth)}){self._where()}"

    def _filter(self, depth: int) -> str:
        return f"SELECT * FROM ({self._relation(depth)}) WHERE {self._condition()}"

    def _join(self, depth: int) -> str:
        a, b = self._name(), self._name()
        kind = self._pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
        on = f"{a}.id = {b}.id" + (f" AND {self._condition(a + '.', 1)}" if self._random.random() < 0.4 else "")
        left, right = self._relation(depth), self._relation(0)
        number, condition = self._number(self._pick(a, b) + ".", 1), self._condition(self._pick(a, b) + ".", 1)
        return (
            f"SELECT coalesce({a}.id, {b}.id) AS id, {self._pick(a, b)}.x, {self._pick(a, b)}.k, {number} AS p, "
            f"{condition} AS q FROM ({left}) {a} {kind} ({right}) {b} ON {on}{self._where(self._pick(a, b) + '.')}"
        )

    def _half_join(self, depth: int) -> str:
        a, b = self._name(), self._name()
        kind = self._pick("LEFT SEMI JOIN", "LEFT ANTI JOIN")
        on = f"{a}.id = {b}.id AND {self._condition(self._pick(a, b) + '.', 1)}"
        return f"SELECT {a}.* FROM ({self._relation(depth)}) {a} {kind} ({self._relation(0)}) {b} ON {on}"

    def _generate(self, depth: int) -> str:
        a, number = self._name(), self._number(depth=1)
        made = self._pick("array(x, p)", "array(k, f(x))", "sequence(1, k % 3)", f"array({number})")
        view = self._pick("LATERAL VIEW", "LATERAL VIEW OUTER")
        return (
            f"SELECT id, x, k, double(e) AS p, {self._condition(depth=1)} AS q FROM ({self._relation(depth)}) {a} "
            f"{view} explode({made}) z AS e{self._where()}"
        )

    def _generate_of_join(self, depth: int) -> str:
        a = self._name()
        columns = [f"{a}.id", f"{a}.x", "arrs.k"]
        self._random.shuffle(columns)
        where = self._pick(f"f({a}.x) > e - 60", f"f({a}.x) > 3", self._condition(a + ".", 1), f"e > 2 OR {a}.q")
        inner = self._pick(f"WHERE f(x) > {self._pick('5', '-20')}", self._where())
        return (
            f"SELECT id, x, k, p, q FROM (SELECT {', '.join(columns)}, double(e) AS p, {a}.q "
            f"FROM (SELECT * FROM ({self._relation(depth)}) {inner}) {a} JOIN arrs ON {a}.id = arrs.id "
            f"LATERAL VIEW explode(arrs.arr) z AS e WHERE {where})"
        )

    def _union(self, depth: int) -> str:
        return f"SELECT * FROM ({self._relation(depth)}) UNION ALL SELECT * FROM ({self._relation(0)}){self._where()}"

    def _set_operation(self, depth: int) -> str:
        kind = self._pick("INTERSECT", "EXCEPT", "UNION", "EXCEPT ALL")
        return f"SELECT * FROM ({self._relation(depth)}) {kind} SELECT * FROM ({self._relation(depth)}){self._where()}"

    def _group(self, depth: int) -> str:
        number = self._number(depth=1)
        p = self._pick(
            f"max({number})",
            f"sum({number})",
            f"min({number}) FILTER (WHERE {self._condition(depth=1)})",
            "f(max(x))",
            f"count(DISTINCT {number}) + count(DISTINCT k)",
        )
        having = self._pick("", f" HAVING {self._pick('f(max(x)) > 3', 'f(k) < 60', 'count(*) > 2')}")
        return (
            f"SELECT max(id) AS id, max(x) AS x, k, double({p}) AS p, bool_or({self._condition(depth=1)}) AS q "
            f"FROM ({self._relation(depth)}){self._where()} GROUP BY k{having}"
        )

    def _expand(self, depth: int) -> str:
        kind = self._pick("ROLLUP (k, id % 3)", "CUBE (k)", "GROUPING SETS ((k), (id % 3), ())")
        number = self._number(depth=1)
        return (
            f"SELECT max(id) AS id, max(x) AS x, k, double(sum({number})) AS p, bool_and(q) AS q "
            f"FROM ({self._relation(depth)}){self._where()} GROUP BY {kind}"
        )

    def _window(self, depth: int) -> str:
        order = f"{self._pick('f(x), ', 'g(p) DESC, ', '')}id, x, p, q"
        window = f"OVER (PARTITION BY {self._pick('k', 'k, q')} ORDER BY {order})"
        total = f"sum({self._number(depth=1)}) {window}"
        function = self._pick(f"double(row_number() {window})", total, f"lag(p) {window}")
        q = self._pick("q", "k > 3 AND f(x) > 5", self._condition(depth=1))
        return f"SELECT id, x, k, {function} AS p, {q} AS q FROM ({self._relation(depth)}){self._where()}"

    def _limit(self, depth: int) -> str:
        order = f"{self._pick('f(x), ', 'k DESC, ', '')}id, x, k, p, q"
        limit = self._pick("LIMIT 7", "LIMIT 150", "LIMIT 10 OFFSET 5", "LIMIT 1000")
        return f"SELECT * FROM ({self._relation(depth)}){self._where()} ORDER BY {order} {limit}"

    def _lateral(self, depth: int) -> str:
        a = self._name()
        inner = self._pick(
            f"SELECT f({a}.x) AS m",
            f"SELECT max(f(y)) AS m FROM d WHERE d.k = {a}.k",
            f"SELECT y AS m FROM d WHERE d.k = {a}.k AND f(d.y) > -48",
        )
        return f"SELECT {a}.id, {a}.x, {a}.k, l.m AS p, {a}.q FROM ({self._relation(depth)}) {a}, LATERAL ({inner}) l"

    def _subquery(self, depth: int) -> str:
        a = self._name()
        condition = self._pick(
            f"EXISTS (SELECT 1 FROM d WHERE d.k = {a}.k AND f(d.y) > -47)",
            f"NOT EXISTS (SELECT 1 FROM d WHERE d.k = {a}.k AND f(d.y) > -47)",
            "k IN (SELECT k FROM d WHERE f(y) < -43)",
            "f(x) IN (SELECT f(x) FROM stored WHERE k = 3)",
            "p > (SELECT min(f(y)) FROM d)",
            f"p < (SELECT max(f(y) + 60) FROM d WHERE d.k = {a}.k)",
        )
        return f"SELECT * FROM ({self._relation(depth)}) {a} WHERE {condition}{self._pick('', ' AND f(x) > 3')}"

    def _common(self, depth: int) -> str:
        name, a, b = self._name(), self._name(), self._name()
        made = self._relation(depth)
        self._ctes.append(f"{name} AS ({made})")
        return (
            f"SELECT {a}.id, {a}.x, {b}.k, {a}.p, {b}.q FROM {name} {a} JOIN {name} {b} ON {a}.id = {b}.id"
            f"{self._pick('', f' AND {a}.p > 3')}{self._where(self._pick(a, b) + '.')}"
        )

    def _outermost(self, relation: str) -> str:
        shown = self._random.sample(COLUMNS, self._random.randint(1, 5))
        values = [self._number(depth=self._random.choice([1, 2])) for _ in range(self._random.choice([0, 1, 1, 2, 4]))]
        made = ", ".join([*shown, *(f"{value} AS c{i}" for i, value in enumerate(values))])
        where = self._where()
        return self._pick(
            f"SELECT {made} FROM ({relation}){where}",
            f"SELECT {made} FROM ({relation}){where}",
            f"SELECT DISTINCT {made} FROM ({relation}){where}",
            f"SELECT {made} FROM ({relation}){where} ORDER BY id, {self._pick('f(x)', 'x', 'p')}",
            f"SELECT count(*), sum(f(x)), max(p) FROM ({relation}){where}",
        )
