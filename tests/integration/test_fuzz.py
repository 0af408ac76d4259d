# SPDX-License-Identifier: Apache-2.0
"""A few of the plans and signatures of `python -m tests.fuzz`: the same ones in each run.

They are chosen: a small set with every kind of relation, join, grouping, function and setting, and with every type and
name of a column, every type that a caller may have instead, inputs that are optional or left out, and gaps.
"""

from __future__ import annotations

import pathlib
import random
from collections.abc import Callable

import pytest
from pyspark.sql import SparkSession

from tests.fuzz.__main__ import plans, signatures
from tests.fuzz.plans import SETTINGS, TABLES, UDFS, Plan, Plans
from tests.fuzz.signatures import KINDS, NAMES, _signature

PLANS_SEED, PLANS = 11, (174, 468, 517, 548, 606, 656, 660, 748, 818, 943, 955, 1232, 1288, 1893, 1911, 1925)
SIGNATURES_SEED, SIGNATURES = 5, (0, 2, 7, 45, 155, 1068, 1748)
PRODUCTIONS = [
    "_project", "_filter", "_join", "_half_join", "_generate", "_generate_of_join", "_union", "_set_operation",
    "_group", "_expand", "_window", "_limit", "_lateral", "_subquery", "_common",
]  # fmt: skip


class Noting(Plans):
    """Notes what a plan is made with."""

    used: set[str]

    def __getattribute__(self, name: str) -> Callable[[int], str]:
        found = super().__getattribute__(name)
        if name not in PRODUCTIONS:
            return found

        def production(depth: int) -> str:
            self.used.add(name)
            return found(depth)

        return production


def test_the_plans_have_every_part_that_can_be_drawn() -> None:
    used: set[str] = set()
    made: list[Plan] = []
    for number in PLANS:
        drawn = Noting(PLANS_SEED * 1_000_000 + number)
        drawn.used = used
        made.append(drawn.plan())
    assert used == set(PRODUCTIONS)
    text = " ".join(plan.query for plan in made)
    assert [name for name in (*TABLES, *(f"{udf}(" for udf in UDFS), "f(", "g(") if name not in text] == []
    joins = ("LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN", "ROLLUP", "CUBE", "GROUPING SETS")
    sets = (
        "INTERSECT",
        "EXCEPT SELECT",
        "EXCEPT ALL",
        "UNION ALL",
        "UNION SELECT",
        "WHERE EXISTS",
        "NOT EXISTS",
        "OUTER explode",
        "HAVING",
    )
    assert [name for name in (*joins, *sets, "SELECT DISTINCT", "FILTER (", "lag(") if name not in text] == []
    assert {(key, value) for plan in made for key, value in plan.settings.items()} == {
        (key, value) for key, values in SETTINGS.items() for value in values
    }


def test_the_signatures_have_every_type_and_name() -> None:
    columns = [c for number in SIGNATURES for c in _signature(random.Random(SIGNATURES_SEED * 1_000_000 + number))]
    assert {c.type.name for c in columns} == set(KINDS)
    assert {c.name for c in columns} == set(NAMES)
    assert {c.required for c in columns} == {True, False}


@pytest.mark.slow
def test_some_plans_go_either_way(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = list(plans(spark.newSession(), tmp_path_factory.mktemp("fuzz"), PLANS_SEED, PLANS))
    assert len(found) == len(PLANS)
    assert [text for text in found if text is not None] == []


@pytest.mark.slow
def test_some_signatures_are_the_same_by_every_way(spark: SparkSession, tmp_path: pathlib.Path) -> None:
    found = list(signatures(spark.newSession(), tmp_path, SIGNATURES_SEED, SIGNATURES))
    assert len(found) == len(SIGNATURES)
    assert [text for text in found if text is not None] == []
