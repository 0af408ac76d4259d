# SPDX-License-Identifier: Apache-2.0
"""The faults that a pool must bear, which tests prove each, and the table of `docs/reliability.md` made of both.

A test says `@pytest.mark.fault("F5")` for what it proves. The marks are read from the files, so that a run of a few
tests knows all of them.
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- made by python -m tests.reliability: begin -->", "<!-- end -->"
NOT_RUN = "not run"
LINK = re.compile(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/.]+)\)")


@dataclasses.dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
        what: What goes wrong.
        expected: What becomes of the queries and of the pool.
    """

    what: str
    expected: str


FAULTS = {
    "F1": Fault(
        "a worker is killed",
        "the same rows; only what was in it is scored again, elsewhere; no Spark task fails; it is replaced",
    ),
    "F2": Fault(
        "a node is killed",
        "workers on other nodes go on; the lost ones are replaced where there is room",
    ),
    "F3": Fault(
        "the supervisor of the pools is killed, at any step",
        "no call fails; the next one has the same workers and finishes or undoes what was begun",
    ),
    "F4": Fault(
        "Ray's head is lost",
        "the Spark driver lives; calls go on for as long as the workers do; then a clear error, and models can be "
        "registered again without another Spark",
    ),
    "F5": Fault(
        "a model hangs, with Python's lock or without",
        "its batch is PREDICT_TIMEOUT, its neighbours go elsewhere, the worker is ended and replaced",
    ),
    "F6": Fault("one worker is slow", "the others get the work: many times what taking turns would do"),
    "F7": Fault(
        "a model cannot be loaded, or its memory is not there",
        "registration fails with the reason and leaves nothing; an update leaves the old version serving",
    ),
    "F8": Fault(
        "the memory for a batch is not there",
        "that batch's error alone; with `on_error` it is halved until what fits is scored",
    ),
    "F9": Fault(
        "one row makes the model raise",
        "the error with the model's own traceback, or that row alone is NULL; two calls for each halving",
    ),
    "F10": Fault("a result of another length, type or form", "one error that says what came and what was declared"),
    "F11": Fault("the driver is killed", "nothing is left; a detached pool goes on"),
    "F12": Fault("a batch comes twice: Spark tries again, or speculates", "the same rows; no count of rows is off"),
    "F13": Fault(
        "an executor is killed amid its batches", "Spark's next attempt has the rows; what nobody waits for is dropped"
    ),
    "F14": Fault("a query is cancelled", "its place in the workers is free at once; no memory of Arrow is left"),
    "F15": Fault(
        "a worker stands still, or the network takes all and brings nothing",
        "no call past its deadline; its batches go elsewhere; it is used again when it answers",
    ),
    "F16": Fault("the version changes under a query", "each query has one version; none fails; no row is scored twice"),
    "F17": Fault("a disk is full", "an error with the system's reason; nothing half-written is used or stays"),
    "F18": Fault("a damaged or hostile model file", "an error that says what is wrong; nothing outside of its place"),
    "F19": Fault("rows and batches that are very large", "cut by rows and by bytes; one row beyond the limit is named"),
    "F20": Fault("NULL and NaN in every type", "as the page about values says, exactly, by both paths"),
    "F21": Fault(
        "texts of any script, and such as cannot be written",
        "they come back as they were; a text that is no Unicode is an error about its row",
    ),
    "F22": Fault("thousands of partitions", "few connections, which are kept; the master is not asked by each"),
    "F23": Fault("a wrong secret or address", "an error at once that says what is wrong; never tried again and again"),
    "F24": Fault("other versions of Python or of the protocol", "named when they meet, before any row"),
    "F25": Fault("more callers than there is room for", "callers wait outside; who goes makes room; nobody starves"),
    "F26": Fault(
        "all workers are away for a while", "callers wait with pauses and go on when they are back; no storm of calls"
    ),
    "F27": Fault("damaged frames", "a PROTOCOL_ERROR; no process ends, no wrong row is taken"),
    "F28": Fault("workers die again and again", "replaced each time, with growing pauses; no call fails; it is told"),
}


def marked(root: pathlib.Path = ROOT) -> dict[str, list[str]]:
    """The node IDs of the tests that prove each fault, in order, read from the files."""
    found: dict[str, list[str]] = {number: [] for number in FAULTS}
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text()
        if "mark.fault(" not in text:
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                for number in _numbers(node):
                    found.setdefault(number, []).append(f"{path.relative_to(root).as_posix()}::{node.name}")
    return found


def _numbers(test: ast.FunctionDef) -> Iterator[str]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
            yield from (str(ast.literal_eval(argument)) for argument in decorator.args)


def rows(tests: Mapping[str, Iterable[str]], outcomes: Mapping[str, str]) -> str:
    """The table.

    Args:
        tests: Node IDs by fault, as of `marked`.
        outcomes: What became of each, by its node ID without parameters.
    """
    lines = ["| | Fault | What becomes of it | Proved by | Outcome |", "|---|---|---|---|---|"]
    for number, fault in FAULTS.items():
        ids = list(tests.get(number, ()))
        links = "<br>".join(f"[`{name}`](../{file})" for file, name in (test.split("::") for test in ids))
        counts = collections.Counter(outcomes.get(test, NOT_RUN) for test in ids)
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items(), reverse=True))
        lines.append(f"| {number} | {fault.what} | {fault.expected} | {links} | {told} |")
    return "\n".join(lines)


def write(outcomes: Mapping[str, str], page: pathlib.Path = PAGE) -> None:
    """Put the table in its place on the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{rows(marked(), outcomes)}\n\n{END}{after}")


def named(page: pathlib.Path = PAGE) -> dict[str, list[str]]:
    """The tests that the page names for each fault."""
    found = {}
    for line in page.read_text().partition(BEGIN)[2].partition(END)[0].splitlines():
        number = line.split("|")[1].strip() if line.startswith("| F") else ""
        if number:
            found[number] = [f"{file}::{name}" for name, file in LINK.findall(line)]
    return found


class Outcomes:
    """A plugin of pytest that notes what becomes of each test, and writes the page at the end.

    Of a test with parameters, or in several phases, the worst counts.
    """

    WORST = ("failed", "skipped", "passed")

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of a test has ended, in this process or in one of xdist's."""
        if report.when == "call" or report.outcome != "passed":
            test = report.nodeid.partition("[")[0]
            both = {self.seen.get(test, report.outcome), report.outcome}
            self.seen[test] = next(outcome for outcome in self.WORST if outcome in both)

    def pytest_sessionfinish(self) -> None:
        """All have ended."""
        write(self.seen)
