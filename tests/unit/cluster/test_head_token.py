# SPDX-License-Identifier: Apache-2.0
"""What a Ray head says to a token, without Ray."""

from __future__ import annotations

import pathlib
import socket

import pytest

from sparkmodel.cluster import head_token
from sparkmodel.errors import RayUnavailableError
from sparkmodel.keeper import connection
from tests.unit.heads import SECRET, head, real_head


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """A user without any token, in a process that is not connected, whatever other tests of this one are."""
    monkeypatch.setattr(connection, "_state", connection._State())
    for name in (head_token.MODE, head_token.TOKEN, head_token.PATH, "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_right_token_is_let_in_from_wherever_ray_would_take_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / ".ray").mkdir()
    file, other = tmp_path / ".ray" / "auth_token", tmp_path / "other"
    with head(SECRET) as port:
        file.write_text(SECRET + "\n")
        head_token.look_for(f"127.0.0.1:{port}")
        other.write_text(SECRET)
        file.write_text("wrong")
        monkeypatch.setenv(head_token.PATH, str(other))
        head_token.look_for(f"127.0.0.1:{port}")
        other.write_text("wrong")
        monkeypatch.setenv(head_token.TOKEN, SECRET)
        head_token.look_for(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("environment", "fact"),
    [
        ({}, r"it wants a token, and '.*/\.ray/auth_token' does not exist.*copy the head's"),
        ({head_token.MODE: "disabled"}, "it wants a token, and RAY_AUTH_MODE is 'disabled' here.*unset RAY_AUTH_MODE"),
        ({head_token.TOKEN: "another"}, "it refuses the token of RAY_AUTH_TOKEN"),
        ({head_token.PATH: "/nowhere"}, "it wants a token, and RAY_AUTH_TOKEN_PATH '/nowhere' does not exist"),
    ],
)
def test_a_token_that_is_wrong_or_missing_is_told_before_ray_is_asked(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], fact: str
) -> None:
    def refuse() -> None:
        raise AssertionError("a process is started for it")

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(connection, "_prepared", refuse)
    with head(SECRET) as port, pytest.raises(RayUnavailableError, match=fact) as raised:
        connection.connect(f"127.0.0.1:{port}")  # as `sm.init` does
    assert "another" not in str(raised.value)


def test_what_a_head_says_about_itself() -> None:
    with head("") as port:
        answer = head_token.ask("127.0.0.1", port)
    assert (answer.is_welcome, answer.release) == (True, "2.60.0")


def test_another_program_is_no_head() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert head_token.ask(*silent.getsockname()[:2], limit_s=0.1) == head_token.Answer(None)


def test_a_real_head_lets_in_and_refuses_likewise(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    with real_head(tmp_path, SECRET) as port:
        assert head_token.ask("127.0.0.1", port, SECRET).is_welcome
        assert head_token.ask("127.0.0.1", port, "another").is_refused
        assert head_token.ask("127.0.0.1", port).is_refused
        monkeypatch.setenv(head_token.TOKEN, SECRET)
        head_token.look_for(f"127.0.0.1:{port}")
