# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while `sparkmodel serve` starts: an exit code, not a word, and no process stays."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import uuid

import pytest

from tests.integration.scripts import PATIENCE_S, command_line, tagged, wait_until

SERVE = (
    *("env", "--default-signal=INT", sys.executable, "-m", "sparkmodel", "serve", "--port", "0"),  # as in a terminal
    *("--model", "m=python:tests.models:DoubleModel", "--result-type", "double", "-o", "num_cpus=0.1"),
)


@pytest.mark.parametrize(
    ("module", "times"), [("sparkmodel.keeper", 1), ("sparkmodel.registration.apart", 1), ("sparkmodel.keeper", 99)]
)
def test_ctrl_c_while_it_starts_leaves_nothing(module: str, times: int, tmp_path: pathlib.Path) -> None:
    tag = f"interrupted-{uuid.uuid4().hex}"
    environ = {**os.environ, "SPARKMODEL_TEST_TAG": tag, "HOME": str(tmp_path)}
    environ.pop("RAY_ADDRESS", None)
    with subprocess.Popen(
        SERVE, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_until(lambda: any(module in command_line(one) for one in tagged(tag)))
        while process.poll() is None and times:
            os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all
            times -= 1
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (130, "", "")
    wait_until(lambda: tagged(tag) == [])
    assert list(tmp_path.glob(".sparkmodel/gateways/*")) == []
