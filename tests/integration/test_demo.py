# SPDX-License-Identifier: Apache-2.0
"""The demo as a newcomer runs it: in a process of its own, which must leave nothing behind."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib
import logging
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psutil
import pytest

from tests.integration.scripts import tagged

DEMO = pathlib.Path(__file__).parents[2] / "demo" / "flights.py"
GONE_S = 300.0
LOOK_S = 0.5  # to look at all processes of the machine costs more than to wait

pytestmark = pytest.mark.slow


def fresh_environment(temporary: pathlib.Path) -> dict[str, str]:
    """The environment of a new shell: without what Ray, Spark and MLflow of this test run have set for themselves.

    Args:
        temporary: Where Python's temporary files are to go.
    """
    theirs = re.compile(r"(RAY|MLFLOW|PYSPARK|SPARK)_")
    kept = {key: value for key, value in os.environ.items() if not theirs.match(key) or key == "SPARK_LOCAL_IP"}
    return {**kept, "TMPDIR": str(temporary)}


@dataclasses.dataclass
class Run:
    """One run of the demo, and what it was seen to start."""

    cwd: pathlib.Path
    temporary: pathlib.Path
    tag: str
    code: int = -1
    output: str = ""
    processes: set[psutil.Process] = dataclasses.field(default_factory=set)
    held: collections.Counter[pathlib.Path] = dataclasses.field(default_factory=collections.Counter)

    @property
    def scratch(self) -> set[pathlib.Path]:
        """Its scratch directories: those of others it opens for a moment only, to see whether their owners live."""
        most = max(self.held.values(), default=0)
        return {path for path, times in self.held.items() if 2 * times > most}

    def watch(self, process: psutil.Process) -> None:
        """Note the processes below this one, and the locked scratch directory that its keeper holds, until it ends."""
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            try:
                self.processes.update([process, *process.children(recursive=True)])
                keepers = [child for child in process.children() if "sparkmodel.keeper" in child.cmdline()]
                files = [pathlib.Path(file.path) for keeper in keepers for file in keeper.open_files()]
                self.held.update({file.parent for file in files if file.parent.name.startswith("sm-")})
            except psutil.NoSuchProcess:  # it, or one of those: then it is looked at again
                continue
            time.sleep(LOOK_S)

    def assert_nothing_is_left(self) -> None:
        """No process, no scratch directory, no temporary file, nothing in the working directory."""
        deadline = time.monotonic() + GONE_S
        while (alive := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert alive == set()
        assert [path for path in self.scratch if path.exists()] == []
        assert list(self.temporary.iterdir()) == []
        assert list(self.cwd.iterdir()) == []

    def alive(self) -> set[psutil.Process]:
        """Processes that were seen below it, or that have its environment."""
        return {process for process in self.processes if _lives(process)} | set(tagged(self.tag))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_demo(home: pathlib.Path, *options: str, interrupt_at: str = "") -> Run:
    """Run the demo to its end, or send it and its children Ctrl-C when it prints `interrupt_at`."""
    run = Run(home / "cwd", home / "temporary", tag=f"{os.getpid()}-{time.monotonic_ns()}")
    run.cwd.mkdir()
    run.temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(DEMO), *options],
        cwd=run.cwd,
        env={**fresh_environment(run.temporary), "SPARKMODEL_TEST_TAG": run.tag},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group of its own, which a terminal would interrupt as a whole
    )
    watcher = threading.Thread(target=run.watch, args=(psutil.Process(process.pid),), daemon=True)
    watcher.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            run.output += line
            if interrupt_at and interrupt_at in line:
                os.killpg(process.pid, signal.SIGINT)
        run.code = process.wait(GONE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        watcher.join()
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with 20,000 flights."""
    return run_demo(tmp_path_factory.mktemp("demo"), "--rows", "20000", "--workers", "2")


def test_demo_ends_well_and_all_its_checks_hold(finished: Run) -> None:
    assert finished.code == 0, finished.output
    held = set(re.findall(r"^ +ok +(.+)$", finished.output, re.MULTILINE))
    assert held >= {
        "each of 20,000 flights has a prediction",
        "called: the same values as scikit-learn alone, missing values included",
        "transformed: the same values as scikit-learn alone, missing values included",
        "4 micro-batches",
        "streamed: the same predictions as the batch",
        "one flight: the same value as in the batch",
    }
    assert "FAILED" not in finished.output
    assert "All checks held." in finished.output


def test_demo_loads_the_model_once_for_each_worker(finished: Run) -> None:
    assert re.search(r"ok +the model was loaded 2 times by 2 workers", finished.output), finished.output
    workers = re.findall(r"^ +pid \d+ +(\d+) .* ([\d,]+) +(\d+) +[\d.]+$", finished.output, re.MULTILINE)
    assert [(loads, errors) for loads, _, errors in workers] == [("1", "0"), ("1", "0")]
    # a query, two jobs and a stream of 20,000 rows, and 201 calls of one: each row was scored once
    assert sum(int(rows.replace(",", "")) for _, rows, _ in workers) == 4 * 20_000 + 201


def test_demo_model_is_better_than_a_guess_on_days_it_has_not_seen(finished: Run) -> None:
    errors = dict(
        re.findall(r"^ +(always the average delay|as late as it left|the model) +([\d.]+)$", finished.output, re.M)
    )
    assert float(errors["the model"]) < float(errors["as late as it left"]) < float(errors["always the average delay"])


def test_demo_shows_carriers_by_name(finished: Run) -> None:
    row = re.search(r"^ +United Air Lines Inc\. +([\d,]+) +(-?[\d.]+) +(-?[\d.]+)$", finished.output, re.MULTILINE)
    assert row, finished.output
    flights, predicted, real = (float(text.replace(",", "")) for text in row.groups())
    assert 3_000 < flights < 4_000  # 58,665 of 336,776, sampled
    assert abs(predicted - real) < 5


def test_demo_shows_progress_and_no_chatter_of_libraries(finished: Run) -> None:
    assert "sparkmodel: arrival_delay: ready" in finished.output
    assert [word for word in ("WARN", "INFO", "Warning", "Traceback") if word in finished.output] == []


def test_demo_leaves_nothing_behind(finished: Run) -> None:
    assert len(finished.scratch) == 1
    names = {name for process in finished.processes for name in [_name(process)]}
    assert len(finished.processes) > 5, names  # Spark's JVM, Ray's processes, the pool
    finished.assert_nothing_is_left()


def test_demo_fails_if_one_of_its_checks_does_not_hold(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(DEMO.parent)
    story: Any = importlib.import_module("story")

    class BrokenDemo(story.Demo):  # type: ignore[misc]
        def read(self) -> None:
            self.check("two is three", False)

        def skip(self) -> None:
            """A step that does nothing."""

        learn = start_pool = score_in_sql = score_data_frame = score_stream = score_one = show_pool = skip

    with contextlib.ExitStack() as cleanup:
        root, py4j = logging.getLogger(), logging.getLogger("py4j")
        cleanup.callback(py4j.setLevel, py4j.level)
        cleanup.callback(setattr, root, "filters", list(root.filters))
        assert BrokenDemo(tmp_path, None, 1, cleanup).run() == 1
    assert "FAILED  two is three" in capsys.readouterr().out


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return f"process {process.pid}, which has ended"


def test_interrupted_demo_says_so_and_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    run = run_demo(tmp_path, "--rows", "1000", interrupt_at="[5/9]")
    assert run.code == 128 + signal.SIGINT, run.output
    assert "Interrupted" in run.output
    assert "Traceback" not in run.output
    assert len(run.scratch) == 1
    run.assert_nothing_is_left()
