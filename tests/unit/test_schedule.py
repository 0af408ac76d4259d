# SPDX-License-Identifier: Apache-2.0
"""What stays together in a run of several processes, and that the lists of it are of files that are there."""

from __future__ import annotations

import pathlib

import pytest

from tests import schedule

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("test", "group"),
    [
        ("tests/unit/test_layering.py::test_x", "tests/unit/test_layering.py"),
        ("tests/integration/test_pool.py::test_x[a::b]", "tests/integration/test_pool.py"),
        ("tests/integration/planner/test_rows_scored.py::test_x[1]", "tests/integration/planner/*"),
        ("tests/integration/sql/test_calls.py::test_forms[bridge-a CASE]", "tests/integration/sql/*"),
        ("tests/integration/sql/test_thrift.py::test_x", "tests/integration/sql/test_thrift.py"),
        ("tests/conformance/test_conformance.py::test_x[pair]", "tests/conformance/test_conformance.py pair"),
        ("tests/conformance/test_conformance.py::test_x", "tests/conformance/test_conformance.py"),
        ("tests/integration/test_sessions.py::test_x", "tests/integration/test_sessions.py test_x"),
        ("tests/integration/test_docs.py::test_languages_are_known", "tests/integration/test_docs.py"),
        (
            "tests/integration/test_docs.py::test_python_blocks_run[calling.md]",
            "tests/integration/test_docs.py test_python_blocks_run[calling.md]",
        ),
    ],
)
def test_the_group_of_a_test(test: str, group: str) -> None:
    assert schedule.group(test) == group


def test_all_files_that_are_named_are_there() -> None:
    named = [folder + name for folder, names in schedule.TOGETHER.items() for name in names]
    measured = {group.partition(" ")[0] for group in schedule.known_seconds()}
    for file in [*named, *schedule.APART, *measured]:
        assert (ROOT / file.rstrip("*")).exists(), file
