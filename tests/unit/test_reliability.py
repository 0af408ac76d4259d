# SPDX-License-Identifier: Apache-2.0
"""Every fault has a test that causes it, and the page about them names those tests and no others."""

from __future__ import annotations

import pathlib
from types import SimpleNamespace
from typing import Any

import pytest

from tests import faults


def test_every_fault_is_proved_by_a_test() -> None:
    tests = faults.marked()
    assert list(tests) == list(faults.FAULTS), "a test is marked with a fault that is none"
    assert [number for number, ids in tests.items() if not ids] == []


def test_the_page_names_the_tests_that_carry_the_marks() -> None:
    assert faults.named() == faults.marked(), "run python -m tests.reliability --names"


def test_marks_are_read_from_the_files(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_x.py").write_text(
        "import pytest\n@pytest.mark.slow\n@pytest.mark.fault('F2', 'F1')\ndef test_a(): ...\ndef test_b(): ...\n"
    )
    found = faults.marked(tmp_path)
    test = "tests/test_x.py::test_a"
    assert {number: ids for number, ids in found.items() if ids} == {"F1": [test], "F2": [test]}


def test_the_worst_outcome_counts_and_the_page_is_written_between_its_marks(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{faults.BEGIN}\nwhat was there\n{faults.END}\nafter\n")
    test, other = faults.marked()["F1"][:2]
    outcomes = faults.Outcomes()
    report: Any
    for report in (
        SimpleNamespace(nodeid=f"{test}[1]", when="call", outcome="failed"),
        SimpleNamespace(nodeid=f"{test}[2]", when="call", outcome="passed"),
        SimpleNamespace(nodeid=other, when="setup", outcome="passed"),
    ):
        outcomes.pytest_runtest_logreport(report)
    assert outcomes.seen == {test: "failed"}
    faults.write(outcomes.seen, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "what was there" not in text
    row = next(line for line in text.splitlines() if line.startswith("| F1 "))
    assert f"{len(faults.marked()['F1']) - 1} {faults.NOT_RUN}" in row
    assert "1 failed" in row
    assert faults.named(page) == faults.marked()
