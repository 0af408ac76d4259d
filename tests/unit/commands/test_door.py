# SPDX-License-Identifier: Apache-2.0
"""The command line as a whole: help, exit codes, and which gateway is asked."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import pytest

from sparkmodel.commands import models as models_command
from sparkmodel.version import __version__
from tests.unit.commands.conftest import Run

COMMANDS = (
    *("serve", "models", "describe", "register", "update", "scale", "rollback", "promote", "drop", "predict", "logs"),
    *("doctor", "jar"),
)


def announce(home: pathlib.Path, name: str, **told: Any) -> None:
    folder = home / ".sparkmodel" / "gateways"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"pid": os.getpid(), "token": "a-token-of-mine", **told}))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(run: Run, command: str) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert command in out
    assert command in ("doctor", "jar") or "Example: sparkmodel" in out


def test_help_and_version(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(f" {command} " in out for command in COMMANDS)
    assert "Exit codes" in out
    assert run("--version")[:2] == (0, f"sparkmodel {__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("models", "--nonsense"),
        ("describe",),
        ("scale", "m"),
        ("rollback", "m", "--to", "one"),
        ("register", "m", "models:/m/1", "-o", "workers"),
        ("register", "m", "models:/m/1", "-o", "workers=1", "-o", "workers=2"),
        ("models", "--url", "ftp://here"),
        ("models", "--url", "localhost:5001"),
        ("predict", "m", "no-such-file.json"),
        ("predict", "m", "-", "--format", "xml"),
        ("serve", "--model", "wine"),
        ("serve", "--port", "70000"),
    ],
)
def test_wrong_use_is_exit_code_2(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err


def test_no_gateway_is_exit_code_3(run: Run) -> None:
    code, out, err = run("models", "--url", "http://127.0.0.1:9")
    assert (code, out) == (3, "")
    assert "no gateway answers at http://127.0.0.1:9" in err
    assert "sparkmodel serve" in err


def test_something_else_at_the_port_is_told(run: Run, recorder: Any) -> None:
    recorder.answer = (418, {}, b"<html>")
    code, _, err = run("promote", "m")
    assert (code, "the gateway answered 418" in err) == (1, True)


def test_ctrl_c_is_exit_code_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(models_command, "Gateway", interrupted)
    code, _, err = run("models")
    assert (code, "Traceback" in err) == (130, False)


def test_a_process_that_is_interrupted_says_nothing_more(recorder: Any) -> None:
    recorder.may_answer.clear()
    command = [sys.executable, "-m", "sparkmodel", "predict", "m", __file__]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert recorder.asked.wait(60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    recorder.may_answer.set()
    assert (process.returncode, err) == (130, b"")


def test_the_gateway_of_this_user_is_found_with_its_token(run: Run, recorder: Any, home: pathlib.Path) -> None:
    url = os.environ.pop("SPARKMODEL_URL")
    announce(home, "1.json", url=url)
    announce(home, "2.json", url="http://127.0.0.1:2", pid=2**22 + 1)  # it has ended
    (home / ".sparkmodel" / "gateways" / "3.json").write_text("{")
    assert run("predict", "m", __file__)[0] == 0
    ((path, headers, _),) = recorder.seen
    assert (path, headers["Authorization"]) == ("/models/m/invocations", "Bearer a-token-of-mine")


def test_the_token_of_a_file_goes_nowhere_else(run: Run, recorder: Any, home: pathlib.Path) -> None:
    announce(home, "1.json", url="http://127.0.0.1:1")
    run("predict", "m", __file__)
    recorder.answer = (302, {"Location": f"{recorder.url}/elsewhere"}, b"")
    os.environ["SPARKMODEL_TOKEN"] = "a-token-of-the-environment"
    assert run("predict", "m", __file__)[0] == 1
    os.environ.pop("SPARKMODEL_TOKEN")
    assert [headers.get("Authorization") for _, headers, _ in recorder.seen] == [
        None,
        "Bearer a-token-of-the-environment",
    ], "nor is a redirect followed"


def test_one_of_several_has_to_be_named(run: Run, home: pathlib.Path) -> None:
    announce(home, "1.json", url="http://127.0.0.1:1")
    announce(home, "2.json", url="http://127.0.0.1:2")
    code, _, err = run("models")
    assert (code, "http://127.0.0.1:1, http://127.0.0.1:2" in err) == (2, True)


def test_shells_can_complete(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SPARKMODEL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "sparkmodel pro")
    monkeypatch.setenv("COMP_CWORD", "1")
    _, out, _ = run()
    assert out.split() == ["promote"]


def test_ctrl_c_before_it_has_begun_is_the_same(tmp_path: pathlib.Path) -> None:
    (tmp_path / "typer.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path))}
    command = ["env", "--default-signal=INT", sys.executable, "-m", "sparkmodel", "models"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")
