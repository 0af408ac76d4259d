# SPDX-License-Identifier: Apache-2.0
"""Models that are only explained, that two sessions make at the same time, and that never load."""

from __future__ import annotations

import pathlib
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.integration.scripts import PATIENCE_S, wait_until
from tests.integration.sql.queries import SMALL, python, refused, run, value


def test_explain_tells_what_is_wrong_and_does_nothing(session: SparkSession) -> None:
    def plan(statement: str) -> str:
        return "".join(row[0] for row in run(session, f"EXPLAIN {statement}"))

    run(session, python("kept"))
    at = "CREATE MODEL explained LOCATION 'models:/sql_wine/1'"
    assert "Execute CreateModelCommand" in plan(f"{at} OPTIONS (workers = 2)")
    assert "[INVALID_OPTION] Cannot use option 'wokers': there is no such option" in plan(f"{at} OPTIONS (wokers = 2)")
    assert "[INVALID_OPTION]" in plan(f"{at} RETURNS double OPTIONS (result_type = 'double')")
    assert "[INVALID_OPTION]" in plan("ALTER MODEL kept SET OPTIONS (timeout = 'soon')")
    assert "[INVALID_OPTION]" in plan("ALTER MODEL kept UNSET OPTIONS (wokers)")
    assert "Execute DropModelCommand" in plan("DROP MODEL kept")
    assert value(session, "kept(2D)") == 4.0
    assert run(session, "SHOW MODELS LIKE 'explained'") == []


@pytest.mark.parametrize(("more", "taken"), [("", 1), ("IF NOT EXISTS", 0)])
def test_two_sessions_create_the_same_model_at_the_same_time(
    spark: SparkSession, session: SparkSession, more: str, taken: int, tmp_path: pathlib.Path
) -> None:
    loading, go = tmp_path / "loading", tmp_path / "go"
    code = f"""
import pathlib, time
pathlib.Path("{loading}").touch()
while not pathlib.Path("{go}").exists():
    time.sleep(0.01)
def predict(frame):
    return frame["x"] * 2
"""
    statement = f"CREATE MODEL {more} both INPUT (x double) RETURNS double USING python {SMALL} AS $${code}$$"

    def create(session: SparkSession) -> str:
        try:
            run(session, statement)
        except AnalysisException as error:
            return str(error.getCondition())
        return ""

    with ThreadPoolExecutor(2) as threads:
        try:
            first = threads.submit(create, session)
            wait_until(loading.exists)
            second = threads.submit(create, spark.newSession())
            wait([second], 1)  # it is told at once, or waits
        finally:
            go.touch()
        assert sorted([first.result(), second.result()]) == sorted(["", "NAME_TAKEN" if taken else ""])
    assert value(session, "both(2D)") == 4.0


def test_a_model_that_never_loads_is_ended_by_force(spark: SparkSession, session: SparkSession) -> None:
    code = "import time\ntime.sleep(600)\ndef predict(frame):\n    return frame['x']"
    statement = f"CREATE MODEL stuck INPUT (x double) RETURNS double USING python {SMALL} AS $${code}$$"
    with ThreadPoolExecutor(1) as threads:
        created = threads.submit(refused, spark.newSession(), statement)
        wait_until(lambda: "stuck" in sm.models())
        assert refused(session, "DROP MODEL stuck") == "POOL_NOT_READY"
        run(session, "DROP MODEL stuck FORCE")
        assert created.result(PATIENCE_S) == "POOL_GONE"
    run(session, python("stuck"))
    assert value(session, "stuck(2D)") == 4.0
