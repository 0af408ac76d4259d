# SPDX-License-Identifier: Apache-2.0
"""docs/security.md promises S1 to S20, and names tests that are there."""

from __future__ import annotations

import ast
import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = re.findall(r"^\| (S\d+) \| (.+) \| (.+) \|$", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@functools.cache
def names_in(file: str) -> set[str]:
    """Names of the test functions of a file, which is not imported for this."""
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_requirement_has_a_row() -> None:
    assert [number for number, _, _ in ROWS] == [f"S{i}" for i in range(1, 21)]


@pytest.mark.parametrize(("number", "shown"), [(number, shown) for number, _, shown in ROWS])
def test_what_shows_a_promise_is_there(number: str, shown: str) -> None:
    named = TEST.findall(shown)
    assert named or shown == "with the REST gateway", number
    assert re.sub(TEST, "", shown).count("::") == 0, "a test is not named as `tests/file.py::test_name`"
    assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []
