# SPDX-License-Identifier: Apache-2.0
"""The alerts, by Prometheus's own tool."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess

import pytest

from sparkmodel.metrics.exposition import written
from sparkmodel.metrics.families import families
from tests.unit.metrics.test_families import told
from tools.debian import program

ROOT = pathlib.Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def promtool() -> pathlib.Path:
    """The program of Debian's package."""
    return program("promtool", "prometheus", ROOT / ".venv" / "debian" / "prometheus")


def run(promtool: pathlib.Path, *arguments: str, given: bytes = b"") -> str:
    done = subprocess.run([str(promtool), *arguments], input=given, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_takes_what_is_deployed(arguments: tuple[str, ...], promtool: pathlib.Path) -> None:
    run(promtool, *arguments[:-1], str(DEPLOY / "prometheus" / arguments[-1]))


def test_every_alert_is_tested() -> None:
    alerts = re.findall(r"- alert: (\w+)", (DEPLOY / "prometheus" / "alerts.yml").read_text())
    tested = re.findall(r"alertname: (\w+)", (DEPLOY / "prometheus" / "alerts_test.yml").read_text())
    assert set(alerts) == set(tested)


def test_prometheus_reads_and_finds_no_fault_with_the_names(promtool: pathlib.Path) -> None:
    text, _ = written(families({"m": told()}), "")
    assert run(promtool, "check", "metrics", given=text) == ""


def test_every_query_of_the_dashboard_can_be_read(promtool: pathlib.Path, tmp_path: pathlib.Path) -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "sparkmodel.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > len(dashboard["panels"])
    rules = [
        {"record": f"panel:query:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$model", ".*")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(queries)} rules found" in run(promtool, "check", "rules", str(file))
