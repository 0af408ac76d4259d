# SPDX-License-Identifier: Apache-2.0
"""The command as a whole: with no Ray and no Spark, as text and as JSON, and what it returns."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sparkmodel.cli import main
from sparkmodel.doctor import examination
from sparkmodel.doctor.finding import FAIL, OK, WARN, Finding
from sparkmodel.doctor.report import as_text
from sparkmodel.doctor.scene import Scene
from sparkmodel.doctor.serving import check_pools

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster is named by the environment."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_with_nothing_running(capsys: Printed) -> None:
    engines = {"ray", "mlflow", "pandas"} & set(sys.modules)
    code = main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"status", "findings", "cleaned"}
    checks = {finding["check"] for finding in told["findings"]}
    assert {"python", "packages", "java", "jar", "token", "permissions", "ports", "directories", "processes"} <= checks
    assert all(finding["hint"] for finding in told["findings"] if finding["status"] != OK)
    assert not [finding for finding in told["findings"] if "the check itself" in finding["fact"]]
    assert code == (1 if told["status"] == FAIL else 0)
    assert {"ray", "mlflow", "pandas"} & set(sys.modules) == engines


def test_a_failing_check_makes_the_command_fail(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert main(["doctor"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(FAIL))
    assert "by JAVA_HOME) does not run" in line


def test_where_nobody_answers(capsys: Printed) -> None:
    assert main(["doctor", "--address", "127.0.0.1:1", "--master", "spark://127.0.0.1:1"]) == 1
    out = capsys.readouterr().out
    assert "nobody answers at 127.0.0.1:1" in out
    assert "nobody answers at spark" not in out
    assert out.count("Connection refused") == 2


def test_a_ray_that_works_by_halves_is_a_finding(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: Any) -> Any:
        raise RuntimeError("its store does not answer\nand much more")

    monkeypatch.setattr(examination, "check_head", lambda scene: [])
    monkeypatch.setitem(sys.modules, "sparkmodel.cluster.survey", SimpleNamespace(look=look))
    assert main(["doctor", "--address", "127.0.0.1:1"]) == 1
    out = capsys.readouterr().out
    assert "the cluster at 127.0.0.1:1 could not be looked at: its store does not answer\n" in out
    assert "directories" in out, "all else is looked at"


def test_a_check_that_breaks_does_not_take_the_others_along(
    monkeypatch: pytest.MonkeyPatch, scene: Callable[..., Scene]
) -> None:
    def check_nothing(_: Scene) -> list[Finding]:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(examination, "CHECKS", (check_nothing, lambda _: [Finding("next", OK, "fine")]))
    broken, after = examination.examine(scene())
    assert (broken.check, broken.status, after.check) == ("nothing", WARN, "next")


def test_pools(scene: Callable[..., Scene], facts_of: Callable[..., dict[str, Any]]) -> None:
    worker = {"answers": True}
    pools = [
        {"name": "a", "state": "ready", "version": 1, "workers": [worker]},
        {"name": "b", "state": "healing", "version": 2, "workers": [worker], "last_error": "no memory"},
        {"name": "c", "state": "ready", "version": 1, "workers": [worker, {"answers": False}]},
        {"name": "d", "error": "it does not answer", "workers": []},
    ]
    found = list(check_pools(scene(pools=pools, nodes={"node": facts_of()})))
    assert [finding.status for finding in found] == [OK, WARN, WARN, FAIL]
    assert "no memory" in found[1].fact
    assert "1 of them silent" in found[2].fact
    assert [finding.fact for finding in check_pools(scene(nodes={"node": facts_of()}))] == ["none"]


def test_the_text_names_places_and_what_to_do() -> None:
    lines = as_text([Finding("x", OK, "good"), Finding("longer", WARN, "bad", "mend it", "node 1")], ["removed 'y'"])
    assert lines.splitlines() == [
        "ok    x       good",
        "warn  longer  node 1: bad",
        "              Hint: mend it.",
        "removed 'y'",
        "1 ok, 1 to look at, 0 failing",
    ]
