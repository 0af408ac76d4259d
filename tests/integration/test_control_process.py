# SPDX-License-Identifier: Apache-2.0
"""The control service as a process of its own: it comes up, and goes with whoever started it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from sparkmodel.wire.handle import Handle
from tests.control import TOKEN, call
from tests.integration.scripts import PATIENCE_S, ROOT, scratch_directories, tagged, wait_until, with_suppress
from tests.integration.test_lifecycle import other_scratch
from tests.unit.pool.toys import score
from tests.unit.wire.toys import HandleClient

START = {"token": TOKEN, "ray_address": None, "namespace": "control-tests"}


class Process:
    """The process, started as the JVM starts it."""

    def __init__(self, cwd: pathlib.Path, line: str) -> None:
        self.tag = f"control-{os.getpid()}-{cwd}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SPARKMODEL_TEST_TAG": self.tag}
        environment.pop("RAY_ADDRESS", None)
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "sparkmodel.control"],
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(cwd / "log").open("w"),
            text=True,
        )
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def start(self) -> int:
        """The port that it says it listens on."""
        assert self.popen.stdout is not None
        said = json.loads(self.popen.stdout.readline())
        assert said["pid"] == self.popen.pid
        return int(said["port"])

    def end_input(self) -> None:
        """What it sees when the JVM dies."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def family(self) -> list[psutil.Process]:
        """The process and all that it has started, Ray's among them."""
        return tagged(self.tag)


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Ended at the end, whatever they do."""
    made: list[Process] = []
    yield made
    for process in made:
        for member in process.family():
            with_suppress(member.kill)
        process.popen.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hello", "its first line is no JSON"),
        ("[]", "its first line has no token"),
        ('{"token": ""}', "its first line has no token"),
        ('{"token": "t", "ray_address": 1}', "'ray_address' is 1, not a text"),
    ],
)
def test_a_wrong_first_line_is_one_error(
    processes: list[Process], tmp_path: pathlib.Path, line: str, says: str
) -> None:
    processes.append(Process(tmp_path, line))
    assert processes[0].popen.wait(PATIENCE_S) == 2
    (error,) = (tmp_path / "log").read_text().splitlines()
    assert error.startswith("[PROTOCOL_ERROR] Cannot start the control service: ")
    assert says in error


def test_it_answers_without_an_engine_and_ends_with_its_input(processes: list[Process], tmp_path: pathlib.Path) -> None:
    processes.append(Process(tmp_path, json.dumps(START)))
    port = processes[0].start()
    assert call(port, "ping")["pid"] == processes[0].popen.pid
    assert call(port, "list") == {"models": []}
    assert len(processes[0].family()) == 1, "a Ray was started to find nothing"
    os.kill(processes[0].popen.pid, signal.SIGINT)  # Ctrl-C in a shell of SQL
    assert call(port, "ping")["pid"] == processes[0].popen.pid
    processes[0].end_input()
    assert processes[0].popen.wait(PATIENCE_S) == 0


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["input", "shutdown", "terminate", "kill"])
def test_nothing_is_left_of_it(processes: list[Process], tmp_path: pathlib.Path, ending: str) -> None:
    before = scratch_directories()
    process = Process(tmp_path, json.dumps(START))
    processes.append(process)
    port = process.start()
    code = "print('loaded')\ndef predict(frame):\n    print('called')\n    return frame['x'] * 2\n"
    fields: dict[str, Any] = {"using": "python", "code": code, "inputs": "x double", "output": "double"}
    card = call(port, "create", name="doubled", **fields, options={"num_cpus": 0.1})
    client = HandleClient(Handle.from_text(card["handle"]))
    assert score(client, [2.0]) == [4.0]
    client.close()
    assert len(process.family()) > 1
    if ending == "input":
        process.end_input()
    elif ending == "shutdown":
        assert call(port, "shutdown") == {}
    else:
        process.popen.send_signal(signal.SIGTERM if ending == "terminate" else signal.SIGKILL)
    assert process.popen.wait(PATIENCE_S) == (-signal.SIGKILL if ending == "kill" else 0)
    assert process.popen.stdout is not None
    assert process.popen.stdout.read() == ""
    wait_until(lambda: process.family() == [])  # Ray's helpers look for their parent now and then
    if ending == "kill":  # the next one that starts a Ray sweeps
        from sparkmodel.cluster.scratch import sweep

        sweep()
    wait_until(lambda: scratch_directories() <= before | other_scratch())
