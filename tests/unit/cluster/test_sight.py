# SPDX-License-Identifier: Apache-2.0
"""What is seen of a process from outside: real ones that are stopped, sleep, work, and get no core."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from sparkmodel.cluster.sight import Eye, Sight
from tests.unit.pool.toys import eventually

SPIN = "while True: pass"
BESIDE = "import threading; threading.Thread(target=exec, args=('while True: pass',)).start(); threading.Event().wait()"
Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(code)` runs it in a process of its own."""
    with contextlib.ExitStack() as stack:

        def start_(code: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([sys.executable, "-c", code])
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start_


def look(pid: int, seconds: float = 0.3) -> Sight:
    eye = Eye(pid)
    eye.look(time.monotonic_ns(), True)
    time.sleep(seconds)
    return eye.look(time.monotonic_ns(), True)


def to_one_core(pid: int, idle: bool) -> None:
    """Bind all threads of a process to one core; and to no time there as long as anybody else wants it."""
    core = min(os.sched_getaffinity(0))
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        os.sched_setaffinity(thread, {core})
        if idle:
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux only")
@pytest.mark.parametrize("code", [SPIN, BESIDE], ids=["main thread", "another thread"])
def test_one_that_wants_a_core_and_gets_none_waits(start: Start, code: str) -> None:
    starved, *others = start(code), start(SPIN), start(SPIN)
    eventually(lambda: pathlib.Path(f"/proc/{starved.pid}/cmdline").read_bytes().find(b"while") > 0)
    time.sleep(0.3)  # for Python to have come to its code
    for other in others:
        to_one_core(other.pid, idle=False)
    to_one_core(starved.pid, idle=True)
    eventually(lambda: look(starved.pid) == Sight(waits=True), 30)
    os.kill(starved.pid, signal.SIGSTOP)
    eventually(lambda: look(starved.pid, 0.05) == Sight(is_stopped=True), 30)


def test_one_that_sleeps_does_not_wait(start: Start) -> None:
    asleep = start("import time; time.sleep(600)")
    eventually(lambda: look(asleep.pid) == Sight(), 30)
    os.kill(asleep.pid, signal.SIGSTOP)
    eventually(lambda: look(asleep.pid, 0.05) == Sight(is_stopped=True), 30)


def test_how_much_of_a_core_it_got_decides(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "7"
    for thread, state in (("7", "S"), ("8", "R")):
        (place / "task" / thread).mkdir(parents=True)
        (place / "task" / thread / "stat").write_text(f"{thread} (a b) c) {state} " + "0 " * 40)
    eye = Eye(7, tmp_path)

    def seen(at_s: float, ticks: int, in_doubt: bool = True) -> Sight:
        (place / "stat").write_text(f"7 (a b) c) S {'0 ' * 10}{ticks} 0 {'0 ' * 30}")
        return eye.look(int(at_s * 1e9), in_doubt)

    per_s = os.sysconf("SC_CLK_TCK")
    assert seen(0.0, 0) == Sight(), "it takes two looks"
    assert seen(1.0, per_s // 10) == Sight(waits=True)
    assert seen(2.0, per_s // 10 + per_s * 6 // 10) == Sight(), "it has more than half of one"
    assert seen(3.0, per_s) == Sight(waits=True)
    assert seen(4.0, per_s, in_doubt=False) == Sight()
    (place / "task" / "8" / "stat").write_text("8 (a b) c) S " + "0 " * 40)
    assert seen(5.0, per_s) == Sight(), "it wants none"


def test_where_the_system_says_nothing_nothing_is_seen(tmp_path: pathlib.Path) -> None:
    assert Eye(7, tmp_path).look(1, True) == Sight()
