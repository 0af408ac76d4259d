# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run, at a tiny size, as a newcomer runs them. What they take is nobody's business here."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks import processes
from benchmarks.__main__ import TRIAL_OUTPUT, main
from benchmarks.common import (
    OURS,
    SPARK_UDF,
    WARM_UPS,
    Bench,
    Measure,
    OutputsDifferError,
    compare,
    interleaved,
    versus,
)
from benchmarks.p6_loads import QUERIES, TRIAL_MICRO_BATCHES, TRIAL_PARTITIONS
from benchmarks.processes import REST_S, family, mark, memory, rest

ROOT = pathlib.Path(__file__).parents[2]
TINY = ("--rows-scale", "0.005")

pytestmark = pytest.mark.timeout(1600)


# `python -m benchmarks` with each of some options, one after the other in one process: most of what a run costs is to
# import the libraries and to start a JVM
RUNS = """
import json, runpy, sys
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["benchmarks", *arguments]
    try:
        runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    print("----", flush=True)
"""


@dataclasses.dataclass
class Runs:
    """A run of one part, with two runs of each contender, and one of all, with one.

    Attributes:
        pages: The page with the table in `benchmarks/`, before and after both.
        part: What the first printed.
        output: Where the second put its files.
    """

    pages: tuple[str, str]
    part: str
    output: pathlib.Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("bench")
    shutil.rmtree(ROOT / TRIAL_OUTPUT, ignore_errors=True)
    page = ROOT / "benchmarks" / "README.md"
    before = page.read_text()
    options = [["--only", "P2", *TINY, "--runs", "2"], [*TINY, "--runs", "1", "--output", str(folder)]]
    command = [sys.executable, "-c", RUNS, json.dumps(options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return Runs((before, page.read_text()), done.stdout.split("----")[0], folder)


@pytest.fixture(scope="module")
def output(runs: Runs) -> pathlib.Path:
    return runs.output


@pytest.fixture(scope="module")
def results(output: pathlib.Path) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((output / "results.json").read_text())
    return raw


@pytest.mark.slow
def test_every_benchmark_ends_with_equal_outputs_and_a_line_for_each_contender(results: dict[str, Any]) -> None:
    contenders = {part["id"]: [line["name"] for line in part["measures"]] for part in results["benchmarks"]}
    assert list(contenders) == ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P11", "P12", "P13"]
    for id_, names in contenders.items():
        assert any("sparkmodel" in name for name in names), id_
        assert any("sparkmodel" not in name for name in names), id_


@pytest.mark.slow
def test_raw_runs_are_kept(results: dict[str, Any]) -> None:
    twice = json.loads((ROOT / TRIAL_OUTPUT / "results.json").read_text())
    for wanted, parts in ((1, results["benchmarks"]), (2, twice["benchmarks"])):
        timed = [(part["id"], line) for part in parts if part["id"] != "P6" for line in part["measures"]]
        assert timed
        for id_, line in timed:
            assert len(line["runs"]) == wanted, (id_, line["name"])
            assert all(value > 0 for value in line["runs"]), (id_, line["name"])


@pytest.mark.parametrize(
    ("scale", "fresh_runs", "warm_ups", "rest_s"),
    [(1.0, 5, WARM_UPS, REST_S), (2.0, 5, WARM_UPS, REST_S), (0.5, 1, 0, 0)],
)
def test_only_a_trial_has_fewer_runs_of_fresh_processes_and_neither_warm_ups_nor_rests(
    scale: float, fresh_runs: int, warm_ups: int, rest_s: float
) -> None:
    bench = Bench(None, pathlib.Path(), scale, runs=5)  # type: ignore[arg-type]
    assert (bench.fresh_runs, bench.warm_ups, bench.rest_s) == (fresh_runs, warm_ups, rest_s)


def test_a_rest_lasts_while_a_process_of_the_family_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LOOK_S", 0.3)
    mark()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as worker:
        resting = threading.Thread(target=rest, args=(600.0,), daemon=True)
        resting.start()
        resting.join(1.0)
        is_resting = resting.is_alive()
        worker.kill()
    assert is_resting
    resting.join(60.0)
    assert not resting.is_alive()


@pytest.mark.slow
def test_the_pool_loads_once_for_each_worker_and_mlflow_once_for_each_task(results: dict[str, Any]) -> None:
    loads = {line["name"]: line for part in results["benchmarks"] if part["id"] == "P6" for line in part["measures"]}
    assert loads[OURS]["value"] == 2
    assert loads[OURS]["verdict"] == "met"
    assert loads[SPARK_UDF]["value"] == QUERIES * TRIAL_PARTITIONS + TRIAL_MICRO_BATCHES


@pytest.mark.slow
def test_the_page_has_the_prose_and_a_table_with_every_contender_and_the_versions(
    output: pathlib.Path, results: dict[str, Any]
) -> None:
    page = (output / "README.md").read_text()
    source = (ROOT / "benchmarks" / "README.md").read_text()
    assert page.split("<!-- results: begin -->")[0] == source.split("<!-- results: begin -->")[0]
    assert page.split("<!-- results: end -->")[1] == source.split("<!-- results: end -->")[1]
    for part in results["benchmarks"]:
        for line in part["measures"]:
            assert line["name"] in page
    assert results["environment"]["versions"]["pyspark"] in page
    assert "python -m benchmarks --rows-scale 0.005" in page
    assert (output / "results.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_part_can_be_chosen_and_does_not_replace_the_full_table(runs: Runs) -> None:
    assert "| P2 |" in runs.part
    assert "| P1 |" not in runs.part
    assert runs.pages[0] == runs.pages[1]
    assert "| P2 |" in (ROOT / TRIAL_OUTPUT / "README.md").read_text()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0001]),
        ([1.0], [1.0, 2.0]),
        ([1.0, float("nan")], [1.0, 2.0]),
    ],
)
def test_other_values_are_an_error_that_names_the_contender(values: list[float], expected: list[float]) -> None:
    with pytest.raises(OutputsDifferError, match=r"^them gave"):
        compare("them", np.array(values), np.array(expected))


def test_a_contender_that_goes_wrong_in_a_later_run_is_an_error() -> None:
    answers = iter([1.0, 1.0, 2.0])
    with pytest.raises(OutputsDifferError, match="late"):
        interleaved({"late": lambda: next(answers)}, runs=2, expected={"late": 1.0})


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    contenders = {name: lambda name=name: calls.append(name) or 0.0 for name in "AB"}
    seconds = interleaved(contenders, runs=3, expected={"A": 0.0, "B": 0.0})
    assert "".join(calls) == "AB" * WARM_UPS + "AB" * 3
    assert [len(runs) for runs in seconds.values()] == [3, 3]


def test_a_missed_goal_says_so() -> None:
    seconds = {"ours": [4.0, 1.0, 0.79], "near": [1.3] * 3, "far": [1.0] * 3, "info": [0.1] * 3}
    pairs = dict.fromkeys(("near", "far", "info"), "ours")
    lines = versus(seconds, pairs, {"near": (0.75, 0.8), "far": (1.05, None)})
    verdicts = {line.name: line.verdict for line in lines}
    assert verdicts == {"ours": "", "near": "missed (the first step, 0.8x, is met)", "far": "met", "info": ""}
    assert {line.name: line.ratio for line in lines}["info"] == pytest.approx(10.0)


def test_a_goal_that_is_no_ratio_says_so() -> None:
    lines = [Measure("near", [0.9, 1.0, 7.0]), Measure("far", [101.0], "MB")]
    for line, limit in zip(lines, (1.0, 100.0), strict=True):
        line.hold(limit)
    assert [(line.goal, line.verdict) for line in lines] == [("<= 1 s", "met"), ("<= 100 MB", "missed")]


def test_the_family_has_processes_whose_parent_has_ended() -> None:
    child = "import time; time.sleep(60)"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {child!r}], stdout=2).pid)"
    mark()
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    orphan = psutil.Process(int(parent.stdout))
    try:
        assert orphan not in psutil.Process().children(recursive=True)
        assert {psutil.Process(), orphan} <= set(family())
    finally:
        orphan.kill()


def test_memory_is_that_of_all_processes_which_are_still_there() -> None:
    code = "import time; x = bytearray(50_000_000); print(flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    alone = memory([psutil.Process()])
    both = [psutil.Process(), psutil.Process(holder.pid)]
    assert 50 < (memory(both) - alone).uss < 100
    holder.kill()
    holder.wait()
    assert (memory(both) - alone).uss < 25


def test_impossible_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--only", "p0"], ["--runs", "0"], ["--rows-scale", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
