# SPDX-License-Identifier: Apache-2.0
"""Which variables of the driver reach the models' code."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess
import sys

import pytest

from sparkmodel import configure
from sparkmodel.keeper.environment import held_back, passed

HELD = {
    "DB_PASSWORD": "x",
    "GITHUB_TOKEN": "x",
    "SLACK_SECRET": "x",
    "OPENAI_API_KEY": "x",
    "STRIPE_KEY": "x",
    "GITLAB_PAT": "x",
    "VAULT_PASSPHRASE": "x",
    "ssh_private_key": "x",
    "SENTRY_DSN": "x",
    "MYSQL_PWD": "x",
    "DATABASE_URL": "postgres://me:word@host/db",
    "REDIS": "redis://:word@host",
}
PASSED = {
    "PATH": "/bin",
    "PWD": "/home",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_SESSION_TOKEN": "x",
    "AZURE_STORAGE_ACCESS_KEY": "x",
    "GOOGLE_APPLICATION_CREDENTIALS": "/x",
    "MLFLOW_TRACKING_PASSWORD": "x",
    "DATABRICKS_TOKEN": "x",
    "HF_TOKEN": "x",
    "PIP_INDEX_URL": "https://me:word@host/simple",
    "https_proxy": "http://me:word@proxy:1",
    "TOKENIZERS_PARALLELISM": "false",
    "KEYBOARD": "de",
    "MONKEY": "1",
    "HOMEPAGE": "https://host/a:b@c",
}


def test_secrets_stay_with_the_driver_and_what_models_are_loaded_with_passes() -> None:
    everything = {**HELD, **PASSED, "SPARKMODEL_CONTROL": "1:2:/proc/1/fd/3"}
    assert passed(everything) == PASSED
    assert held_back(everything) == sorted(HELD)


@pytest.mark.parametrize(("asked", "held"), [("OPENAI_API_KEY", "DB_PASSWORD"), ("DB_*, X", "OPENAI_API_KEY")])
def test_what_is_asked_for_passes(asked: str, held: str) -> None:
    got = passed({**HELD, "SPARKMODEL_PASS_ENV": asked})
    assert asked.partition("*")[0] in "\n".join(got)
    assert held not in got


def test_everything_passes_where_that_is_asked_for() -> None:
    assert set(HELD) < set(passed({**HELD, "SPARKMODEL_PASS_ENV": "*"}))


def test_the_control_token_is_in_a_file_that_ends_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configure, "_server", None)
    monkeypatch.setattr(configure, "attach_control", lambda port, token: None)
    monkeypatch.setenv("SPARKMODEL_CONTROL", "")
    configure._announce()
    assert configure._server is not None
    _, server, token, file = configure._server
    try:
        announced = os.environ["SPARKMODEL_CONTROL"]
        assert token not in "\n".join(os.environ.values())
        path = announced.split(":", 2)[2]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o400
        shown = subprocess.run(
            [sys.executable, "-c", f"print(open({path!r}).read())"], capture_output=True, text=True, check=True
        )
        assert shown.stdout.strip() == token
        assert token.encode() not in pathlib.Path("/proc/self/environ").read_bytes()
    finally:
        server.close()
        os.close(file)
