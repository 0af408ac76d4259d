# SPDX-License-Identifier: Apache-2.0
"""Wrong uses are told one readable condition, and the page that lists them has what they are told."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from tests.integration.sql.queries import LINE, Files, python, run, value
from tests.integration.sql.telling import PAGE, Told, page, tell
from tests.integration.sql.wrong_uses import OF_SPARK, WITH_LOCATIONS, WITHOUT_DDL, WRONG_USES, WrongUse

ALL = [*WRONG_USES, *WITH_LOCATIONS, *WITHOUT_DDL]
Answers = dict[WrongUse, Told | None]


@pytest.fixture(scope="module")
def told(shared: SparkSession, closed: dict[str, Told | None], files: Files) -> Iterator[Answers]:
    """What each wrong use is told."""
    run(shared, "DROP MODEL line FORCE")  # the page says how many sessions have called it
    run(shared, f"CREATE MODEL line {LINE}")
    run(shared, python("shorter", "WrongLengthModel"))
    run(shared, python("texts", "WrongTypeModel"))
    value(shared.newSession(), "line(1, 2)")
    found = {use: tell(shared, use.statement.replace("{home}", str(files.home))) for use in WRONG_USES}
    yield found | {use: closed[use.statement] for use in [*WITH_LOCATIONS, *WITHOUT_DDL]}
    for name in ("shorter", "texts"):
        run(shared, f"DROP MODEL {name}")


@pytest.mark.parametrize("use", ALL, ids=lambda use: f"{use.section}: {use.title}")
def test_wrong_uses(told: Answers, use: WrongUse) -> None:
    found = told[use]
    assert found is not None
    assert (found.condition, found.sqlstate) == (use.condition, use.sqlstate), found
    if use.condition.startswith(OF_SPARK):
        assert found.kind in ("ParseException", "AnalysisException")
        return
    assert found.line.startswith(f"[{use.condition}] Cannot "), found
    assert found.line.endswith((".", "?", "!")), found
    fails_in_a_worker = use.sqlstate == "38000" and use.statement.startswith("SELECT")
    assert found.kind == ("PythonException" if fails_in_a_worker else "AnalysisException")
    assert found.is_one_line or fails_in_a_worker, found


def test_there_are_no_models_left(told: Answers, shared: SparkSession) -> None:
    assert run(shared, "SHOW MODELS LIKE 'x'") == []


def test_titles_are_unique() -> None:
    assert len({use[:2] for use in ALL}) == len(ALL)


def test_the_page_is_up_to_date(told: Answers, files: Files, closed_home: str) -> None:
    text = page({use: found for use, found in told.items() if found is not None}, [str(files.home), closed_home])
    if os.environ.get("SPARKMODEL_WRITE_PAGES"):  # tools/sql_errors.py
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "run tools/sql_errors.py"
