# SPDX-License-Identifier: Apache-2.0
"""The keeper's process itself, which imports Ray and connects to none."""

from __future__ import annotations

import os
import pathlib
import signal
import sys

import pytest

from sparkmodel.cluster.common import CONTROL_VARIABLE
from sparkmodel.errors import RayUnavailableError, SparkModelError
from sparkmodel.keeper.link import Link


def test_it_answers_in_a_session_of_its_own_and_goes_when_it_is_hung_up_on() -> None:
    link = Link()
    pid = link.process.pid
    assert os.getsid(pid) == pid
    for _ in range(2):
        with pytest.raises(SparkModelError, match=r"Cannot do 'nonsense'.*KeyError"):
            link.call("nonsense")
        os.kill(pid, signal.SIGINT)
    link.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(("end", "said"), [(signal.SIGKILL, "ended by signal 9"), (signal.SIGTERM, "ended with 0")])
def test_how_it_ended_is_told(end: signal.Signals, said: str) -> None:
    link = Link()
    with pytest.raises(SparkModelError, match="nonsense"):
        link.call("nonsense")
    os.kill(link.process.pid, end)
    while not link.has_ended:
        os.sched_yield()
    with pytest.raises(RayUnavailableError, match=said):
        link.call("nonsense")


def test_one_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    link = Link()
    with pytest.raises(RayUnavailableError, match=r"its process ended with 3, and said last: no such luck"):
        link.call("names")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(RayUnavailableError, match=r"Cannot start the process that holds Ray.*No such file"):
        Link()


def test_it_has_the_drivers_arguments_and_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "only_here.py").write_text("def fail(): raise LookupError('found')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    link = Link()
    with pytest.raises(SparkModelError, match="KeyError"):  # what names the module arrives
        link.call("nonsense", only_here.fail.__module__, only_here)
    link.close()


def test_what_it_starts_does_not_learn_how_the_control_service_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts Ray, and Ray starts processes that run the code of models."""
    monkeypatch.setenv(CONTROL_VARIABLE, "1:2:canary")
    monkeypatch.setenv("OTHER", "stays")
    link = Link()
    with pytest.raises(SparkModelError, match="KeyError"):
        link.call("nonsense")
    told = pathlib.Path(f"/proc/{link.process.pid}/environ").read_text()
    link.close()
    assert "canary" not in told
    assert "OTHER=stays" in told
    assert "SPARKMODEL_APP=app-" in told
