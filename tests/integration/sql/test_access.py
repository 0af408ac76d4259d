# SPDX-License-Identifier: Apache-2.0
"""Who may make models, and from where."""

from __future__ import annotations

import pytest

from tests.integration.sql.locations import CALLS, FORMS, OUTSIDE, REFUSED, WITHIN, create
from tests.integration.sql.telling import Told

Answers = dict[str, Told | None]


def condition(closed: Answers, statement: str) -> str | None:
    found = closed[statement]
    return None if found is None else found.condition


@pytest.mark.parametrize("location", WITHIN)
def test_what_is_below_a_root_is_looked_for(closed: Answers, location: str) -> None:
    assert condition(closed, create(location)) not in (None, REFUSED)


@pytest.mark.parametrize("location", OUTSIDE)
def test_what_is_elsewhere_is_refused(closed: Answers, location: str) -> None:
    assert condition(closed, create(location)) == REFUSED


@pytest.mark.parametrize("statement", FORMS)
def test_every_statement_that_names_a_location_is_checked(closed: Answers, statement: str) -> None:
    assert (condition(closed, statement) == REFUSED) == FORMS[statement]


def test_a_catalog_is_the_applications(closed: Answers) -> None:
    """A session's own would let a call name a registry."""
    assert condition(closed, "SELECT own.x(a) FROM t") == "DDL_NOT_ALLOWED"
    assert condition(closed, "SELECT theirs.x(a) FROM t") == "MODEL_NOT_FOUND"
    assert condition(closed, "SELECT theirs.x(a) FROM t WHERE b > 0") == "MODEL_NOT_FOUND"


@pytest.mark.parametrize("statement", CALLS)
def test_calls_need_no_ddl(closed: Answers, statement: str) -> None:
    assert closed[statement] is None
