# SPDX-License-Identifier: Apache-2.0
"""What errors advise is something that who typed the command can type."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import httpx
import pytest

import sparkmodel
from sparkmodel import errors
from sparkmodel.commands.hints import in_commands
from sparkmodel.keeper import connection
from sparkmodel.registration.plan import plan
from sparkmodel.rest import serve
from sparkmodel.rest.admin import start
from tests.models import FactorModel
from tests.unit.commands.conftest import Run
from tests.unit.rest.admin.toys import MasterPools

DOUBLE = "python:tests.models:DoubleModel"
ROOT = pathlib.Path(sparkmodel.__file__).parent
REGISTERING = ("registration", "loaders", "pool", "keeper", "cluster", "options.py", "spark/types.py", "targets.py")
# of the API's own functions, which no command calls
OTHERS = ("batch_inputs", "batch_model", "predictor", "connection", "pools", "settle", "chats")
PYTHON = re.compile(r"\w=(True|None|'|\[|\{|$| )|\bsm\.|\bmodel\.\w+\(|\bpass \w+=|mlflow\.set|\bparams\b=")


def hints() -> Iterator[errors.SparkModelError]:
    """Errors of registering, with each hint that is a text."""
    paths = [
        path for part in REGISTERING for path in ((ROOT / part).glob("*.py") if "." not in part else [ROOT / part])
    ]
    for path in paths:
        if path.stem in OTHERS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 2:
                kind, hint = getattr(errors, node.func.id, None), node.args[2]
                if kind is not None and isinstance(hint, ast.Constant):
                    yield kind("Cannot register model 'm'", f"{path.name} says so", hint.value)


@pytest.fixture
def starting(pools: MasterPools, monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` ends where the gateway would begin, and needs no Ray."""
    monkeypatch.setattr(connection, "connect", lambda *_: None)
    monkeypatch.setattr(start, "plan_apart", plan)
    monkeypatch.setattr(serve, "serve", lambda *_, **__: None)


@pytest.mark.usefixtures("starting")
def test_a_model_that_does_not_say_what_it_returns_is_served_as_the_hint_says(run: Run, pools: MasterPools) -> None:
    words = ("serve", "--model", f"m={DOUBLE}")
    code, _, err = run(*words)
    assert (code, pools.names()) == (1, [])
    advised = re.search(r"Hint: .*(--\S+ \w+)\.\n$", err)
    assert advised, err
    assert run(*words, *advised[1].split(), "-o", "workers=0..2") == (0, "", "")
    assert pools.find("m").spec()[0].options.workers == (0, 2)


@pytest.mark.usefixtures("starting")
def test_what_is_said_of_a_model_needs_one(run: Run, pools: MasterPools) -> None:
    two = ("--model", f"a={DOUBLE}", "--model", f"b={DOUBLE}")
    for more, says in (
        (("--result-type", "double"), "--result-type goes with"),
        (("-p", "k=1"), "--param goes with"),
        (("--config", "k=1", "-o", "workers=1"), "--config goes with"),
    ):
        for words in ((), two):
            code, out, err = run("serve", *words, *more)
            assert (code, out, says in err) == (2, "", True), err
    assert run("serve", "-o", "workers=1")[0] == 2
    code, _, err = run("serve", "--model", f"m={DOUBLE}", "-o", "result_type=double", "--result-type", "double")
    assert (code, "it is given twice" in err) == (1, True)
    code, _, err = run("serve", *two, "-o", "wokers=1")
    assert (code, "did you mean 'workers'" in err) == (1, True), "it is for each model"
    assert pools.names() == []


def test_register_and_update_advise_what_they_take(run: Run, served: httpx.Client, pools: MasterPools) -> None:
    code, _, err = run("register", "m", DOUBLE)
    assert (code, err.endswith(" Hint: say what one prediction is, such as --result-type double.\n")) == (1, True)
    pools.add("m", FactorModel(2.0))
    code, _, err = run("register", "m", DOUBLE, "--result-type", "double")
    assert (code, "Hint: 'sparkmodel update' moves it" in err) == (1, True)
    code, _, err = run("promote", "m")
    assert (code, "sparkmodel update NAME SOURCE --traffic 0.05" in err) == (1, True)
    code, _, err = run("update", "m")
    assert (code, "Hint: name a source: sparkmodel update NAME SOURCE." in err) == (1, True)
    assert run("update", "m", DOUBLE, "--allow-new-inputs")[0] == 0


def test_no_hint_of_registering_names_python() -> None:
    told = [in_commands(str(error)) for error in hints()]
    assert len(told) > 40
    assert [text for text in told if PYTHON.search(text.partition("Hint: ")[2])] == []


def test_what_fits_commands_stays_as_it_is() -> None:
    for text in ("no gateway answers", "[MODEL_NOT_FOUND] Cannot find 'x': no. Hint: did you mean 'y'?", "[X] a: b."):
        assert in_commands(text) == text
    details = "[RESULT_TYPE_UNKNOWN] Cannot do: no. Hint: pass result_type, such as result_type='double'.\n\nTrace: x"
    assert in_commands(details).endswith("--result-type double.\n\nTrace: x")
