# SPDX-License-Identifier: Apache-2.0
"""A host of which nothing is heard is silent, then lost, before Ray gives it up; strangers here are watched too."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
from concurrent.futures import Future
from typing import Any

import pytest

from sparkmodel.cluster import places, reaper
from sparkmodel.cluster.host import Host
from sparkmodel.cluster.places import Far
from sparkmodel.pool import judge
from sparkmodel.pool.judge import LOST, READY, SILENT
from sparkmodel.pool.pulse import Pulse
from sparkmodel.wire.verdicts import KILLED, WAITING
from tests.unit.pool.toys import Clock, eventually


class Actor:
    """Of a host that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Future[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return self

    def remote(self) -> Any:
        return self

    def future(self) -> Future[Any]:
        self.asked.append(Future())
        return self.asked[-1]


def test_a_host_that_says_nothing_is_silent_and_then_lost_until_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(100.0)
    monkeypatch.setattr(places, "_now", clock)
    monkeypatch.setattr(places, "_ASK_S", 0.01)
    actor = Actor()
    far = Far(actor)
    clock.now += 60.0
    assert far.state("a") == READY, "it may be starting"
    eventually(lambda: len(actor.asked) == 1)
    actor.asked[0].set_result({"a": SILENT})
    eventually(lambda: len(actor.asked) == 2)
    assert (far.state("a"), far.state("b")) == (SILENT, READY)
    clock.now += 5.1
    assert (far.state("b"), far.is_lost) == (SILENT, False)
    clock.now += 10.0
    assert (far.state("b"), far.is_lost) == (LOST, True)
    actor.asked[1].set_result({})
    eventually(lambda: far.state("b") == READY)
    assert not far.is_lost


def test_a_process_that_somebody_else_started_is_watched_too(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_GIVEN_UP", 1_000_000_000)
    Pulse(tmp_path / "page").limit(60.0)  # as if this were its page, in which nobody is and no heart beats
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    host = Host(tmp_path, "127.0.0.1", 0)
    try:
        ended = host.watch("a", process.pid, str(tmp_path / "page"))
        eventually(lambda: host.state("a") == SILENT, 20)
        end = ended.result(30)
    finally:
        process.kill()
        process.wait(60)
        host.close()
    assert (end.cause, end.fact) == (KILLED, "its worker did not go on for 10 s, and was ended")
    assert host.fate("a", 1, 1).result(10).fate == WAITING
    assert host.watch("b", process.pid, "").result(10) is None, "it has ended"


def test_how_a_process_ended_is_known_from_its_handle() -> None:
    import os

    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    handle = os.pidfd_open(process.pid)
    assert reaper.status_from(handle) is None
    process.send_signal(signal.SIGSEGV)
    process.wait(60)
    status = reaper.status_from(handle)
    os.close(handle)
    assert status in (signal.SIGSEGV, signal.SIGSEGV | 0x80, None)  # None: an older Linux
