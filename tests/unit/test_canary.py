# SPDX-License-Identifier: Apache-2.0
"""The search for secrets finds what it is meant to find."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from sparkmodel.secret import new_secret
from tests import canary


def test_a_secret_in_a_log_is_found_and_a_token_file_is_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "token").write_text(new_secret())
    (tmp_path / "model.bin").write_text(new_secret())
    canary.check(canary.in_files(tmp_path))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "worker.log").write_text(f"greeted with {new_secret()}")
    try:
        with pytest.raises(AssertionError, match=r"deep/worker\.log"):
            canary.check(canary.in_files(tmp_path))
    finally:
        (tmp_path / "deep" / "worker.log").unlink()  # the suite is searched, too


def test_a_private_key_is_found_too() -> None:
    assert canary.in_text("a -----BEGIN PRIVATE KEY----- b") == "a "
    assert canary.in_text("a -----BEGIN CERTIFICATE----- b") is None


@pytest.mark.parametrize("place", ["command line", "environment", "user's"])
def test_a_process_that_shows_one_is_found(place: str, tmp_path: pathlib.Path) -> None:
    secret = new_secret()
    more = {"environment": {"X": secret}, "user's": {canary.VARIABLE: canary.VALUE}}.get(place, {})
    arguments = [str(tmp_path), secret if place == "command line" else "nothing"]
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", *arguments],
        env=more,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        found = list(canary.in_processes(str(tmp_path)))
    assert len(found) == 1
    assert str(process.pid) in found[0]


def test_a_test_that_prints_one_fails(pytester_program: pathlib.Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", str(pytester_program)],
        capture_output=True,
        text=True,
        cwd=pytester_program.parent,
    )
    assert "1 failed, 1 passed" in run.stdout
    assert "a secret is in its output, after 'the token is '" in run.stdout


@pytest.fixture
def pytester_program(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two tests, of which one prints a secret, with the hook alone."""
    root = pathlib.Path(__file__).resolve().parents[2]
    (tmp_path / "conftest.py").write_text(
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "import pytest\n"
        "from tests import canary\n"
        "@pytest.hookimpl(hookwrapper=True)\n"
        "def pytest_runtest_makereport(item, call):\n"
        "    outcome = yield\n"
        "    canary.check_report(outcome.get_result())\n"
    )
    program = tmp_path / "test_two.py"
    program.write_text(
        "from sparkmodel.secret import new_secret\n"
        "def test_a(): print('the token is ' + new_secret())\n"
        "def test_b(): print('the token is not told')\n"
    )
    return program
