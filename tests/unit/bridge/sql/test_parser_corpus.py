# SPDX-License-Identifier: Apache-2.0
"""Ordinary SQL has the plans and the errors of a Spark without us."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bridge import Jvm
from tests.unit.bridge.sql.corpus import statements

VALID, INVALID = statements("valid.sql"), statements("invalid.sql")
TABLES = [
    "CREATE TEMP VIEW t AS SELECT 1 AS a, 2 AS b, 'x' AS model",
    "CREATE TEMP VIEW s AS SELECT 1 AS a, 'y' AS c",
    "CREATE TEMP VIEW events AS SELECT TIMESTAMP '2024-01-01' AS ts",
    "CREATE TABLE model (a INT, x STRING) USING parquet",
]


@pytest.fixture(scope="module")
def tables(parser: Jvm) -> Jvm:
    """The JVM with some tables in both of its sessions."""
    for sql in TABLES:
        parser.call("both", sql=sql)
    return parser


def test_the_corpus_is_large_enough() -> None:
    assert len(set(VALID)) == len(VALID) >= 220
    assert len(set(INVALID)) == len(INVALID) >= 80


@pytest.mark.parametrize("sql", VALID)
def test_a_valid_statement_has_the_plan_of_spark(sql: str, parser: Jvm) -> None:
    plain, ours = parser.call("plans", sql=sql)
    assert "result" in plain
    assert ours == plain


@pytest.mark.parametrize("sql", INVALID)
def test_an_invalid_statement_has_the_error_of_spark(sql: str, parser: Jvm) -> None:
    plain, ours = parser.call("plans", sql=sql)
    assert "class" in plain
    assert ours == plain


@pytest.mark.slow
def test_a_session_analyses_as_one_without_the_parser(tables: Jvm) -> None:
    """The same plan, or the same error; nothing is run."""
    differing: dict[str, Any] = {}
    analysed = 0
    for sql in VALID:
        plain, ours = tables.call("analyzed", sql=sql)
        analysed += "result" in plain
        if ours != plain:
            differing[sql] = (plain, ours)
    assert differing == {}
    assert analysed >= 220
