# SPDX-License-Identifier: Apache-2.0
"""Every statement about models, with real pools; what SQL does Python sees, and the reverse."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable

import mlflow
import pytest
from pyspark.errors import AnalysisException
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.pipeline import Pipeline
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.integration.scripts import PATIENCE_S
from tests.integration.sql.queries import LINE, SMALL, Files, described, python, refused, run, shown, value
from tests.models import ErrorModel, FactorModel

# CREATE MODEL


def test_mlflow_with_every_clause(session: SparkSession, registry: str) -> None:
    statement = (
        "CREATE MODEL w INPUT (a double, b double) RETURNS double COMMENT 'a wine\\'s class' USING mlflow "
        f"LOCATION '{registry}@champion' OPTIONS (workers = 2, num_cpus = 0.1, timeout = '20s', params.k = 1)"
    )
    assert run(session, statement) == []
    assert value(session, "w(1D, 2D)") == 13.0
    known = described(session, "w")
    assert {key: known[key] for key in ("Comment", "Source", "Resolved", "Version", "Workers", "State", "Kind")} == {
        "Comment": "a wine's class",
        "Source": "models:/sql_wine@champion",
        "Resolved": "models:/sql_wine/1",
        "Version": "1",
        "Workers": "2",
        "State": "ready",
        "Kind": "mlflow",
    }
    assert known["Options"] == '{"workers":2,"num_cpus":0.1,"timeout_s":20.0,"params":{"k":1}}'


def test_output_columns_are_a_struct(session: SparkSession) -> None:
    code = 'def predict(frame):\n    return frame.assign(label="red", p=frame["x"] / 2)[["label", "p"]]'
    run(
        session, f"CREATE MODEL two INPUT (x double) OUTPUT (label string, p double) USING python {SMALL} AS $${code}$$"
    )
    assert tuple(value(session, "two(1D)")) == ("red", 0.5)
    assert value(session, "two(x => 3D).p") == 1.5


def test_pickle(session: SparkSession, files: Files) -> None:
    options = "OPTIONS (trust_pickle = true, num_cpus = 0.1)"
    run(session, f"CREATE MODEL p RETURNS double USING pickle LOCATION '{files.pickle}' {options}")
    assert value(session, "p(2D)") == pytest.approx(6.0)


def test_python_by_import_path_and_by_code(session: SparkSession) -> None:
    run(session, python("imported"))
    assert value(session, "imported(2D)") == 4.0
    run(session, f"CREATE MODEL written {LINE}")
    assert value(session, "written(1D, 2D)") == 12.0


def test_table(session: SparkSession, registry: str, tmp_path: pathlib.Path) -> None:
    path = mlflow.artifacts.download_artifacts(f"{registry}/2", dst_path=str(tmp_path))
    session.sql("CREATE DATABASE sql_models")
    try:
        sm.save_to_table(session, path, "sql_models.wine", format="parquet")
        run(session, f"CREATE MODEL tabled USING table LOCATION 'sql_models.wine' {SMALL}")
        assert value(session, "tabled(1D, 2D)") == 102.0
        assert described(session, "tabled")["Source"] == "table:sql_models.wine"
    finally:
        session.sql("DROP DATABASE sql_models CASCADE")


def test_sparkml_needs_no_pool(session: SparkSession, tmp_path: pathlib.Path) -> None:
    data = session.sql("SELECT * FROM VALUES (1D, 2D), (2D, 4D), (4D, 8D) AS t(x, label)")
    stages = [VectorAssembler(inputCols=["x"], outputCol="features"), LinearRegression()]
    Pipeline(stages=stages).fit(data).save(str(tmp_path / "line"))  # type: ignore[arg-type]
    run(session, f"CREATE MODEL local COMMENT 'twice' USING sparkml LOCATION '{tmp_path}/line'")
    try:
        assert value(session, "local(3D)") == pytest.approx(6.0)
        ((name, version, state, workers, rows, source, comment, _),) = run(session, "SHOW MODELS LIKE 'local'")
        assert (name, version, state, workers, rows) == ("local", 1, "ready", 0, None)
        assert (source, comment) == (f"{tmp_path}/line", "twice")
        assert described(session, "local")["Returns"] == "DOUBLE"
        assert refused(session, "ALTER MODEL local SCALE TO 2") == "UNSUPPORTED_SOURCE"
        assert "local" not in sm.models()
    finally:
        run(session, "DROP MODEL local")
    assert refused(session, "DESCRIBE MODEL local") == "MODEL_NOT_FOUND"


def test_or_replace_and_if_not_exists(session: SparkSession) -> None:
    run(session, python("kept"))
    run(session, python("kept", "first_column").replace("MODEL", "MODEL IF NOT EXISTS"))
    assert value(session, "kept(2D)") == 4.0
    assert refused(session, python("kept")) == "NAME_TAKEN"
    run(session, python("kept", "first_column").replace("MODEL", "OR REPLACE MODEL"))
    assert value(session, "kept(2D)") == 2.0
    assert described(session, "kept")["Version"] == "2"


def test_temporary_models_are_their_sessions(session: SparkSession, spark: SparkSession) -> None:
    run(session, python("mine").replace("MODEL", "TEMPORARY MODEL"))
    assert value(session, "mine(2D)") == 4.0
    other = spark.newSession()
    assert refused(other, "SELECT mine(2D)") == "UNRESOLVED_ROUTINE"
    assert run(other, "SHOW MODELS LIKE 'mine'") == []
    statements = ["SELECT ML_PREDICT('mine', 2D)", "DESCRIBE MODEL mine", "SHOW CREATE MODEL mine", "DROP MODEL mine"]
    for statement in [*statements, "ALTER MODEL mine REFRESH"]:
        assert refused(other, statement) == "MODEL_NOT_FOUND", statement
    for words in ("MODEL", "OR REPLACE MODEL", "OR REPLACE TEMPORARY MODEL"):
        assert refused(other, python("mine").replace("MODEL", words)) == "NAME_TAKEN", words
    assert shown(session, "mine").startswith("CREATE TEMPORARY MODEL mine")
    run(session, python("mine", "first_column").replace("MODEL", "OR REPLACE TEMPORARY MODEL"))
    assert value(session, "mine(2D)") == 2.0
    run(session, "DROP MODEL mine")
    assert refused(session, "SELECT mine(2D)") == "UNRESOLVED_ROUTINE"


def test_a_shared_model_does_not_become_temporary(session: SparkSession, spark: SparkSession) -> None:
    run(session, python("ours"))
    other = spark.newSession()
    assert refused(other, "REGISTER MODEL 'python:tests.models:first_column' AS ours") == "NAME_TAKEN"
    assert value(other, "ours(2D)") == 4.0


def test_register_and_unregister(session: SparkSession, spark: SparkSession, registry: str) -> None:
    run(session, f"REGISTER MODEL '{registry}/1' AS short {SMALL}")
    assert value(session, "short(1D, 2D)") == 12.0
    run(session, f"REGISTER MODEL '{registry}/2' AS short {SMALL}")
    assert value(session, "short(1D, 2D)") == 102.0
    assert refused(spark.newSession(), "SELECT short(1D, 2D)") == "UNRESOLVED_ROUTINE"
    run(session, "UNREGISTER MODEL short")
    assert "short" not in sm.models()


def test_names_are_the_same_in_any_case(session: SparkSession) -> None:
    run(session, python("Mixed"))
    assert value(session, "MIXED(2D)") == 4.0
    assert value(session, "ML_PREDICT('mixed', 2D)") == 4.0
    assert refused(session, python("mixed")) == "NAME_TAKEN"
    run(session, python("MIXED", "first_column").replace("MODEL", "OR REPLACE MODEL"))
    assert [row[:2] for row in run(session, "SHOW MODELS LIKE 'mixed'")] == [("Mixed", 2)]
    assert described(session, "miXed")["Name"] == "Mixed"
    run(session, "DROP MODEL mixed")
    assert "Mixed" not in sm.models()


def test_parameters_and_execute_immediate(session: SparkSession) -> None:
    statement = "CREATE MODEL given RETURNS double USING python LOCATION :where OPTIONS (num_cpus = :share)"
    run(session, statement, where="tests.models:DoubleModel", share=0.1)
    assert value(session, "given(2D)") == 4.0
    session.sql("DECLARE statement = 'ALTER MODEL given SET OPTIONS (max_retries = 1)'")
    session.sql("BEGIN EXECUTE IMMEDIATE statement; END")
    assert '"max_retries":1' in described(session, "given")["Options"]


# ALTER MODEL


def test_alter_with_every_action(session: SparkSession) -> None:
    run(session, python("altered"))
    run(session, "ALTER MODEL altered SET LOCATION 'tests.models:first_column'")
    assert value(session, "altered(2D)") == 2.0
    run(session, "ALTER MODEL altered ROLLBACK")
    assert value(session, "altered(2D)") == 4.0
    run(session, "ALTER MODEL altered SET OPTIONS (timeout = '5s', max_retries = 1)")
    assert described(session, "altered")["Options"] == '{"num_cpus":0.1,"timeout_s":5.0,"max_retries":1}'
    run(session, "ALTER MODEL altered UNSET OPTIONS (timeout, max_retries)")
    assert described(session, "altered")["Options"] == '{"num_cpus":0.1}'
    run(session, "ALTER MODEL altered SCALE TO 2")
    assert described(session, "altered")["Workers"] == "2"
    assert value(session, "altered(2D)") == 4.0


def test_refresh_follows_an_alias(session: SparkSession, registry: str) -> None:
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("sql_wine", "moving", "1")
    run(session, f"CREATE MODEL follows LOCATION '{registry}@moving' {SMALL}")
    client.set_registered_model_alias("sql_wine", "moving", "2")
    assert value(session, "follows(1D, 2D)") == 12.0
    run(session, "ALTER MODEL follows REFRESH")
    assert value(session, "follows(1D, 2D)") == 102.0
    assert described(session, "follows")["Resolved"] == "models:/sql_wine/2"


def test_a_model_that_cannot_be_loaded_changes_nothing(session: SparkSession) -> None:
    run(session, python("firm"))
    assert refused(session, "ALTER MODEL firm SET LOCATION 'tests.models:Nothing'") == "MODEL_LOAD_FAILED"
    assert value(session, "firm(2D)") == 4.0
    assert described(session, "firm")["Version"] == "1"


@pytest.mark.fault("F16")
def test_a_swap_under_a_running_query_fails_nothing(session: SparkSession) -> None:
    run(session, python("swapped"))
    seen: set[float] = set()
    failures: list[BaseException] = []
    done, begun = threading.Event(), threading.Event()

    def query() -> None:
        reader = session.newSession()
        try:
            while not done.is_set():
                rows = run(reader, "SELECT DISTINCT swapped(1D + id * 0) FROM range(0, 20000, 1, 8)")
                seen.update(row[0] for row in rows)
                begun.set()
        except BaseException as error:
            failures.append(error)
            begun.set()

    thread = threading.Thread(target=query)
    thread.start()
    try:
        assert begun.wait(PATIENCE_S)
        run(session, "ALTER MODEL swapped SET LOCATION 'tests.models:first_column'")
        assert value(session, "swapped(1D)") == 1.0
        run(session, python("swapped").replace("MODEL", "OR REPLACE MODEL"))
    finally:
        done.set()
        thread.join(PATIENCE_S)
    assert failures == []
    assert seen == {1.0, 2.0}


# DROP MODEL


def test_drop(session: SparkSession) -> None:
    run(session, python("gone"))
    run(session, "DROP MODEL gone")
    assert refused(session, "DROP MODEL gone") == "MODEL_NOT_FOUND"
    assert run(session, "DROP MODEL IF EXISTS gone") == []
    assert refused(session, "SELECT gone(2D)") == "UNRESOLVED_ROUTINE"


def test_drop_refuses_while_another_session_uses_the_model(session: SparkSession, spark: SparkSession) -> None:
    run(session, python("used"))
    other = spark.newSession()
    assert value(other, "used(2D)") == 4.0
    with pytest.raises(AnalysisException, match=r"1 other session has called it .* DROP MODEL used FORCE"):
        run(session, "DROP MODEL used")
    assert refused(session, "DROP MODEL IF EXISTS used") == "MODEL_IN_USE"
    run(session, "DROP MODEL used FORCE")
    assert "used" not in sm.models()


# SHOW and DESCRIBE


def test_show_models(session: SparkSession, registry: str) -> None:
    run(session, f"CREATE MODEL shown_a COMMENT 'one' LOCATION '{registry}/1' {SMALL}")
    run(session, python("shown_b"))
    columns = session.sql("SHOW MODELS").columns
    assert columns == ["name", "version", "state", "workers", "rows", "source", "comment", "problem"]
    value(session, "shown_b(1D)")
    a = ("shown_a", 1, "ready", 1, 0, "models:/sql_wine/1", "one", "")
    b = ("shown_b", 1, "ready", 1, 1, "python:tests.models:DoubleModel", "", "")
    assert run(session, "SHOW MODELS LIKE 'shown_*'") == [a, b]
    assert run(session, "SHOW MODELS 'SHOWN_A|none'") == [a]
    assert run(session, "SHOW MODELS LIKE 'none'") == []
    assert {a, b} <= set(run(session, "SHOW MODELS"))


@pytest.mark.parametrize("kind", ["mlflow", "code", "pickle", "import"])
def test_show_create_makes_the_same_model_again(session: SparkSession, registry: str, files: Files, kind: str) -> None:
    options = "OPTIONS (workers = 2, num_cpus = 0.1, extra_env.`A.B` = 'it\\'s', params.k = 2)"
    pickled = "OPTIONS (trust_pickle = true, num_cpus = 0.1)"
    statement = {
        "mlflow": f"CREATE MODEL again COMMENT 'a \\'b\\' \\\\ c' LOCATION '{registry}/1' {options}",
        "code": f"CREATE MODEL again {LINE}",
        "pickle": f"CREATE MODEL again INPUT (`x y` double) RETURNS double LOCATION '{files.pickle}' {pickled}",
        "import": python("again"),
    }[kind]
    call = "again(1D)" if kind in ("pickle", "import") else "again(1D, 2D)"
    run(session, statement)
    text, predicted, known = shown(session, "again"), value(session, call), described(session, "again")
    run(session, "DROP MODEL again")
    run(session, text)
    assert shown(session, "again") == text
    assert value(session, call) == predicted
    now = described(session, "again")
    same = [key for key in known if key not in ("Latency", "Batches", "Rows", "Version 1")]
    assert {key: now[key] for key in same} == {key: known[key] for key in same}


def test_describe_tells_columns_and_counters(session: SparkSession) -> None:
    run(session, f"CREATE MODEL told {LINE}")
    known = dict(run(session, "DESCRIBE MODEL told"))
    assert len(known.pop("Resolved")) == 64  # the digest of the code
    assert known == {
        "Name": "told",
        "Comment": "ten a and b",
        "Input a": "double",
        "Input b": "double",
        "Returns": "double",
        "Source": "source text",
        "Version": "1",
        "State": "ready",
        "Workers": "1",
    }
    run(session, "SELECT told(id, id) FROM range(100)")
    known = described(session, "told")
    assert int(known["Rows"]) == 100
    assert int(known["Batches"]) > 0
    assert (known["Errors"], known["Last error"]) == ("0", "")
    assert known["Latency"].startswith("p50 ")
    assert run(session, "DESC MODEL told") == run(session, "DESCRIBE MODEL told")


def test_describe_tells_the_last_error(session: SparkSession, register: Callable[..., sm.Model]) -> None:
    register("raises", ErrorModel(), result_type="double", num_cpus=0.1)
    with pytest.raises(Exception, match=r"\[PREDICT_FAILED\]"):
        value(session, "raises(-1D)")
    known = described(session, "raises")
    assert known["Errors"] != "0"
    assert "[PREDICT_FAILED] Cannot score with 'raises'" in known["Last error"]
    assert "negative input -1" in known["Last error details"]


# One path with Python


def test_python_sees_what_sql_does(session: SparkSession) -> None:
    run(session, f"CREATE MODEL both {LINE}")
    model = sm.get("both")
    assert "both" in sm.models()
    assert model.predict([{"a": 1.0, "b": 2.0}]) == [12.0]
    value(session, "both(1D, 2D)")
    assert model.stats()["rows"] == 2
    run(session, "ALTER MODEL both SCALE TO 2")
    assert len(model.stats()["workers"]) == 2
    model.drop()
    assert refused(session, "DESCRIBE MODEL both") == "MODEL_NOT_FOUND"
    run(session, f"CREATE MODEL both {LINE}")


def test_sql_sees_what_python_does(session: SparkSession, register: Callable[..., sm.Model]) -> None:
    model = register("theirs", FactorModel(2.0), result_type="double", num_cpus=0.1)
    assert value(session, "theirs(3D)") == 6.0  # another session than the one it was registered in
    assert [row[0] for row in run(session, "SHOW MODELS LIKE 'theirs'")] == ["theirs"]
    assert described(session, "theirs")["Kind"] == "object"
    assert refused(session, "SHOW CREATE MODEL theirs") == "UNSUPPORTED_SOURCE"
    model.update(FactorModel(5.0))
    assert value(session, "theirs(3D)") == 15.0
    run(session, "ALTER MODEL theirs ROLLBACK")
    assert model.predict([{"x": 3.0}]) == [6.0]
    run(session, "DROP MODEL theirs FORCE")
    assert "theirs" not in sm.models()
