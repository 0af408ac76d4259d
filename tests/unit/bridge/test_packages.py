# SPDX-License-Identifier: Apache-2.0
"""The shape of the bridge: which package may use which, one statement a file, one class for each name."""

from __future__ import annotations

import graphlib
import pathlib
import re
from collections import Counter

import pytest

from tests.bridge import ROOT

MAIN = ROOT / "jvm-bridge" / "src" / "main" / "scala"
MAX_LINES = 400

# Spark's own packages, in which lies what it keeps to itself: one rung of the ladder
INTERNALS = "internals"

_DEFINED = re.compile(
    r"^(?:(?:private(?:\[\w+\])?|sealed|abstract|final|case|implicit) )*(class|object|trait) (\w+)", re.M
)
_COMMAND = re.compile(r"\bclass (\w+)(?:\([^)]*\))?\s+extends (?:ModelCommand|LeafRunnableCommand|RunnableCommand)\b")


def code_of(path: pathlib.Path) -> str:
    """A source without its comments and plain strings."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    text = re.sub(r'(?<![s"])"[^"\n]*"(?!")', '""', text)
    return re.sub(r"//.*", "", text)


def rung(package: str) -> str:
    """A package's name within the bridge; the empty one is that of the doors."""
    if package.startswith("org.apache.spark."):
        return INTERNALS
    return package.removeprefix("io.sparkmodel").removeprefix(".").split(".")[0]


def packages_used(code: str) -> set[str]:
    """The packages that a source without its own package's line names: in imports, and where it writes a name out."""
    named = {name for name in re.findall(r"\bio\.sparkmodel\.([a-z]\w*)\b", code)}
    named |= {
        first
        for group in re.findall(r"\bio\.sparkmodel\.\{([^}]*)\}", code)
        for first in re.findall(r"\b[a-z]\w*", group)
    }
    doors = {""} if re.search(r"\bio\.sparkmodel\.(?:[A-Z{]|_)", code) else set()
    internals = {INTERNALS} if re.search(r"\borg\.apache\.spark\.sql\.(?:[\w.]+\.)?sparkmodel\b", code) else set()
    return named | doors | internals


SOURCES = {path.relative_to(MAIN).as_posix(): code_of(path) for path in sorted(MAIN.rglob("*.scala"))}


def uses() -> dict[str, set[str]]:
    """For each package those that it uses."""
    found: dict[str, set[str]] = {}
    for code in SOURCES.values():
        declared = re.search(r"^package ([\w.]+)$", code, re.M)
        assert declared is not None
        own = rung(declared[1])
        used = packages_used(code.replace(declared[0], "", 1))
        found.setdefault(own, set()).update(used - {own})
    return found


def ladder() -> list[str]:
    """The packages as jvm-bridge/README.md lists them, from the bottom up."""
    text = (ROOT / "jvm-bridge" / "README.md").read_text()
    rows: list[str] = re.findall(r"^\| (`[\w.]+`|the doors)[^|]*\|", text, re.M)
    return ["" if row == "the doors" else row.strip("`") for row in rows]


def test_no_circle_among_packages() -> None:
    graph = uses()
    assert {"wire", "call", "parse", "models", "commands", "plan", "exec"} <= graph.keys()
    assert "wire" in graph["call"]
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"packages in a circle: {' <- '.join(error.args[1])}")


def test_packages_use_what_is_below_them_on_the_ladder() -> None:
    rungs, graph = ladder(), uses()
    assert sorted(rungs) == sorted(graph), "jvm-bridge/README.md has a line for each package"
    wrong = [
        f"{package} uses {other}"
        for package, others in graph.items()
        for other in others
        if rungs.index(other) >= rungs.index(package)
    ]
    assert wrong == []


def test_a_source_lies_where_its_package_says() -> None:
    for path, code in SOURCES.items():
        declared = re.search(r"^package ([\w.]+)$", code, re.M)
        assert declared is not None
        assert declared[1].replace(".", "/") == path.rsplit("/", 1)[0]


def test_one_statement_a_file() -> None:
    commands = {path: _COMMAND.findall(code) for path, code in SOURCES.items() if _COMMAND.search(code)}
    assert len(commands) >= 7
    for path, names in commands.items():
        assert names == [pathlib.PurePath(path).stem]


def test_no_file_is_long() -> None:
    every = [*MAIN.rglob("*.scala"), *(ROOT / "jvm-bridge" / "src" / "test").rglob("*.scala")]
    lengths = {path.name: len(path.read_text().splitlines()) for path in every}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_two_classes_of_one_name() -> None:
    defined: Counter[str] = Counter()
    for code in SOURCES.values():
        defined.update({name for _, name in _DEFINED.findall(code)})  # a class and its companion are in one file
    assert len(defined) > 100
    assert {name for name, count in defined.items() if count > 1} == set()
