# SPDX-License-Identifier: Apache-2.0
"""What stays together in a run of several processes, and that the lists of it are of files that are there."""

from __future__ import annotations

import pathlib
from collections import OrderedDict
from typing import Any

import pytest

from tests import schedule

ROOT = pathlib.Path(__file__).parents[2]


class Node:
    """A process of xdist that does nothing with what it is sent."""

    def send_runtest_some(self, indices: list[int]) -> None:
        pass


NODE: Any = Node()


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
        ("tests/integration/test_sessions.py::test_x", "tests/integration/test_sessions.py"),
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
    for file in [*named, *schedule.APART]:
        assert (ROOT / file).exists(), file


def test_the_longest_group_that_is_left_comes_next() -> None:
    scheduler = schedule.LongestFirst.__new__(schedule.LongestFirst)
    scheduler._seconds = {"a": 1.0, "b": 500.0, "c": schedule.NEW_S - 1}
    scheduler.workqueue = OrderedDict((name, {}) for name in ("a", "b", "c", "never measured"))
    scheduler.assigned_work, scheduler.registered_collections = {}, {NODE: []}
    for _ in range(4):
        scheduler._assign_work_unit(NODE)
    assert list(scheduler.assigned_work[NODE]) == ["b", "never measured", "c", "a"]
