# SPDX-License-Identifier: Apache-2.0
"""Code in README and docs: Python runs, shell commands are of make or of ours, links lead somewhere."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex

import mlflow
import numpy as np
import pandas as pd
import pytest
import typer
from mlflow.models import infer_signature
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel import cli, errors
from sparkmodel.options import PoolOptions
from tests.integration.registered import log, of_code

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "jvm-bridge/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


def blocks(page: pathlib.Path, language: str) -> list[str]:
    return [code for name, code in BLOCK.findall(page.read_text()) if name == language]


def check_command(words: list[str]) -> None:
    """Fail for a command line that `sparkmodel` does not take; nothing is run."""
    if words[:1] in (["--version"], ["--install-completion"]):
        return
    group = typer.main.get_command(cli.app)
    assert words[0] in group.commands, words
    group.commands[words[0]].make_context(words[0], words[1:])  # ends with an error for an option that is not known


def session_functions(spark: SparkSession) -> set[str]:
    return {row[0] for row in spark.sql("SHOW USER FUNCTIONS").collect()}


# that page wants Delta Lake, and runs in test_delta.py
WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page.name != "mlsql.md"]


def test_there_are_pages_with_code() -> None:
    names = {page.name for page in WITH_PYTHON}
    assert {"README.md", "sources.md", "calling.md", "operating.md", "errors.md"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_python_blocks_run(
    page: pathlib.Path, spark: SparkSession, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sm.models()
    functions = session_functions(spark)
    tracking_uri = mlflow.get_tracking_uri()
    experiment = mlflow.tracking.fluent._active_experiment_id
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)  # a page has a store of its own
    mlflow.tracking.fluent._active_experiment_id = None
    namespace: dict[str, object] = {"__name__": "__main__"}
    try:
        for number, code in enumerate(blocks(page, "python")):
            # MLflow keeps one open database for each URI in a process, and "mlflow.db" means another on each page
            code = code.replace("sqlite:///mlflow.db", f"sqlite:///{tmp_path}/mlflow.db")
            code = code.replace('parquet("incoming")', f'parquet("{tmp_path}/incoming")')  # the JVM stays where it is
            # to find out what a model requires, MLflow runs it in another process: the first page shows that
            if page.name != "README.md":
                code = code.replace("signature=infer_signature(", "pip_requirements=[], signature=infer_signature(")
            exec(compile(code, f"{page.name}, block {number}", "exec"), namespace)
        assert sm.models() == before, "the page leaves a pool"
    finally:
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.tracking.fluent._active_experiment_id = experiment
        for name in set(sm.models()) - set(before):
            sm.unregister(spark, name)
        for name in session_functions(spark) - functions:  # they hold no pool, and are of this session only
            spark.sql(f"DROP TEMPORARY FUNCTION {name}")


@pytest.mark.slow
def test_sql_blocks_run(spark: SparkSession, mlflow_store: pathlib.Path) -> None:
    """Those of the page about SQL, one after the other, with the registry and the table that it speaks of."""
    before = sm.models()
    frame = pd.DataFrame({"alcohol": [12.0, 13.5, 14.1], "ash": [2.1, 2.4, 2.5], "hue": [0.9, 1.1, 1.2]})
    for classes in ([0, 1, 2], [2, 1, 0]):
        log("wine", of_code("bottles.py", infer_signature(frame, np.array(classes)), order=classes))
    mlflow.MlflowClient().set_registered_model_alias("wine", "champion", "1")
    session = spark.newSession()
    session.createDataFrame(frame.assign(id=range(3))).createOrReplaceTempView("bottles")
    session.conf.set("spark.sql.catalog.mlflow", "io.sparkmodel.catalog.MlflowCatalog")
    session.conf.set("spark.sql.catalog.mlflow.num_cpus", "0.1")
    try:
        for block in blocks(ROOT / "docs" / "sql.md", "sql"):
            for statement in filter(None, map(str.strip, re.split(r";[^\n]*$", block, flags=re.MULTILINE))):
                session.sql(statement).collect()
        assert [name for name in sm.models() if not name.startswith("mlflow_wine_")] == before
    finally:
        for name in set(sm.models()) - set(before):
            sm.get(name).drop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shell_blocks_are_targets_and_links_lead_somewhere(page: pathlib.Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in "\n".join(blocks(page, "sh")).splitlines():
        if command.startswith("sparkmodel "):
            check_command(shlex.split(command)[1:])
            continue
        if not command:
            continue
        assert command.startswith("make "), command
        assert set(command.split()[1:]) <= targets
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_languages_are_known() -> None:
    known = {"python", "sh", "sql", "text", "", "json"}
    for page in PAGES:
        assert {name for name, _ in BLOCK.findall(page.read_text())} <= known, page.name


def test_every_option_and_condition_is_documented() -> None:
    operating = (ROOT / "docs" / "operating.md").read_text()
    for field in dataclasses.fields(PoolOptions):
        assert f"`{field.name}`" in operating
    page = (ROOT / "docs" / "errors.md").read_text()
    for condition in errors.SparkModelError._by_condition:
        assert f"`{condition}`" in page
