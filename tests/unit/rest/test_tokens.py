# SPDX-License-Identifier: Apache-2.0
"""Tokens as files and variables hold them."""

from __future__ import annotations

import pathlib

import pytest

from sparkmodel.errors import InvalidOptionError
from sparkmodel.rest import tokens

TEXT = "a-token-of-thirty-two-characters"


def written(tmp_path: pathlib.Path, text: str, mode: int = 0o600) -> pathlib.Path:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_names_tokens_their_scopes_and_their_limits(tmp_path: pathlib.Path) -> None:
    lines = f"# ours\n\nteam predict,metrics {TEXT} models=wine,iris per_s=2.5 concurrent=8\nops admin {TEXT}2\n"
    team, ops = tokens.read(written(tmp_path, lines))
    assert (team.name, team.scopes, team.models) == ("team", {"predict", "metrics"}, {"wine", "iris"})
    assert (team.per_s, team.concurrent) == (2.5, 8)
    assert (ops.scopes, ops.models, ops.per_s, ops.concurrent) == ({"admin"}, None, None, None)
    assert TEXT not in repr(team)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: pathlib.Path, mode: int) -> None:
    with pytest.raises(InvalidOptionError, match="chmod 600"):
        tokens.read(written(tmp_path, f"team predict {TEXT}\n", mode))


@pytest.mark.parametrize(
    "line",
    [
        f"team {TEXT}",
        f"team preditc {TEXT}",
        "team predict short",
        f"team predict {TEXT} concurrent=0",
        f"team predict {TEXT} concurrent=many",
        f"team predict {TEXT} per_s=nan",
        f"team predict {TEXT} speed=9",
        f"ops admin {TEXT}\nteam predict {TEXT}",
        f"team admin {TEXT}2\nteam predict {TEXT}",
    ],
)
def test_a_line_that_is_wrong_is_told_by_its_number_and_without_its_token(tmp_path: pathlib.Path, line: str) -> None:
    number = len(line.splitlines())
    with pytest.raises(InvalidOptionError, match=f"line {number}") as caught:
        tokens.read(written(tmp_path, line))
    assert TEXT not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidOptionError, match="No such file"):
        tokens.read(tmp_path / "nothing")


def test_tokens_come_from_the_environment_too() -> None:
    found = tokens.from_environment({"SPARKMODEL_TOKENS": f"ops admin {TEXT}2", "SPARKMODEL_TOKEN": TEXT})
    assert [(one.name, sorted(one.scopes)) for one in found] == [
        ("ops", ["admin"]),
        ("default", ["metrics", "predict"]),
    ]
    assert tokens.from_environment({}) == ()
