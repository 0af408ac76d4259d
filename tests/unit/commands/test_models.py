# SPDX-License-Identifier: Apache-2.0
"""The commands that look at models and change them, against a gateway."""

from __future__ import annotations

import json

import httpx
import pytest

from sparkmodel.commands import options
from tests.models import FactorModel
from tests.unit.commands.conftest import Run
from tests.unit.rest.admin.toys import MasterPools

DOUBLE = "python:tests.models:DoubleModel"


def test_the_life_of_a_model(run: Run, served: httpx.Client, pools: MasterPools) -> None:
    code, out, err = run("register", "m", DOUBLE, "-o", "workers=0..2", "--result-type", "double")
    assert (code, err) == (0, "")
    assert "option workers  0..2" in out
    code, out, _ = run("update", "m", DOUBLE, "--traffic", "0.25", "--max-error-rate", "0.1", "--json")
    assert (code, json.loads(out)["canary"]) == (0, {"version": 2, "traffic": 0.25})
    assert "version 2 with 0.25 of the queries" in run("describe", "m")[1]
    assert json.loads(run("promote", "m", "--json")[1])["version"] == 2
    assert json.loads(run("rollback", "m", "--to", "1", "--json")[1])["version"] == 1
    assert json.loads(run("scale", "m", "1", "--json")[1])["workers"] == 1
    assert "rollback by tester: done" in run("logs", "m", "--events")[1]
    assert run("logs", "m")[0] == 0
    assert run("drop", "m", "--yes") == (0, "m is gone\n", "")
    assert pools.names() == []


def test_models_as_a_table_and_as_json(run: Run, served: httpx.Client, pools: MasterPools) -> None:
    assert run("models", "--json")[:2] == (0, "[]\n")
    for name in ("wine", "a_name_that_is_longer_than_tables_like_" * 3):
        pools.add(name, FactorModel(2.0))
    code, out, err = run("models")
    assert (code, err) == (0, "")
    head, *lines = out.splitlines()
    assert head.split() == ["NAME", "VERSION", "STATE", "WORKERS", "ROWS", "SOURCE", "PROBLEM"]
    assert [line.split()[0] for line in lines] == pools.names(), "in a pipe a model has one line, and is not cut"
    cards = json.loads(run("models", "--json")[1])
    assert [card["name"] for card in cards] == pools.names()


def test_what_the_gateway_refuses_is_said_in_its_words(run: Run, served: httpx.Client, pools: MasterPools) -> None:
    pools.add("wine", FactorModel(2.0))
    code, out, err = run("promote", "wien", "--json")
    assert (code, out) == (1, "")
    assert err.startswith("[MODEL_NOT_FOUND] ")
    assert "did you mean 'wine'" in err
    assert run("promote", "wine")[0] == 1
    code, _, err = run("register", "x", "/etc/passwd")
    assert (code, err.startswith("[UNSUPPORTED_SOURCE] ")) == (1, True)
    code, _, err = run("register", "x", "models:/x/1", "-o", "wokers=2")
    assert (code, "did you mean 'workers'" in err) == (1, True)


def test_without_a_token_it_is_said_where_one_goes(
    run: Run, served: httpx.Client, pools: MasterPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.add("m", FactorModel(2.0))
    monkeypatch.delenv("SPARKMODEL_TOKEN")
    code, _, err = run("drop", "m", "--yes")
    assert (code, "SPARKMODEL_TOKEN is not set" in err, pools.names()) == (1, True, ["m"])
    monkeypatch.setenv("SPARKMODEL_TOKEN", "wrong-token-wrong-token")
    code, _, err = run("drop", "m", "--yes")
    assert (code, "is not set" in err, "wrong-token" in err) == (1, False, False)


def test_a_comment_that_moves_the_cursor_is_printed_flat(run: Run, served: httpx.Client, pools: MasterPools) -> None:
    pools.add("m", FactorModel(2.0), comment="a\x1b[2Jb\nc")
    assert "a [2Jb c" in run("describe", "m")[1]


def test_names_are_completed_quickly_or_not_at_all(
    served: httpx.Client, pools: MasterPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wine", "wind", "iris"):
        pools.add(name, FactorModel(2.0))
    assert options.names("wi") == ["wind", "wine"]
    monkeypatch.setenv("SPARKMODEL_URL", "http://127.0.0.1:9")
    assert options.names("wi") == []
