# SPDX-License-Identifier: Apache-2.0
"""Every form of a call, over the bridge and on the Python path."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sparkmodel as sm
from tests.integration.sql.queries import run, value

BOTH = [(12.0,), (34.0,)]


@pytest.fixture(params=["bridge", "python"])
def caller(request: pytest.FixtureRequest, shared: SparkSession) -> Iterator[SparkSession]:
    """The session with its queries over the bridge, and on the Python path."""
    if request.param == "python":
        shared.conf.set("spark.sparkmodel.bridge.enabled", "false")
    yield shared
    shared.conf.unset("spark.sparkmodel.bridge.enabled")


FORMS = {
    "positional": "SELECT line(a, b) FROM t",
    "names in another order": "SELECT line(b, a) FROM t",
    "star with a column more": "SELECT line(*) FROM t",
    "star of a table": "SELECT line(t.*) FROM t CROSS JOIN (SELECT 5 AS a)",
    "star without a column": "SELECT line(* EXCEPT (c)) FROM t",
    "no arguments": "SELECT line() FROM t",
    "a struct": "SELECT line(struct(*)) FROM t",
    "a struct in another order": "SELECT line(struct(b, c, a)) FROM t",
    "named arguments": "SELECT line(b => b, a => a) FROM t",
    "names in another case": "SELECT LINE(B => b, A => a) FROM t",
    "an array": "SELECT line(array(a, b)) FROM t",
    "numbers of other types": "SELECT line(CAST(a AS INT), CAST(b AS DECIMAL(5, 1))) FROM t",
    "a WHERE clause": "SELECT p FROM (SELECT line(*) AS p, a FROM t) WHERE line(a, p - 10 * a) > 0",
    "an aggregate's argument": "SELECT max(line(a, b)) FROM t GROUP BY c",
    "an aggregate as argument": "SELECT line(max(a), max(b)) FROM t GROUP BY c",
    "a join": "SELECT line(t.a, u.b) FROM t JOIN t u USING (c)",
    "a join's condition": "SELECT line(t.a, t.b) FROM t JOIN t u ON line(t.a, t.b) = line(u.a, u.b)",
    "a common table expression": "WITH s AS (SELECT line() AS p FROM t) SELECT p FROM s",
    "a subquery": "SELECT line(a, b) FROM t WHERE EXISTS (SELECT 1 FROM t u WHERE line(u.a, u.b) > 30)",
    "a lateral subquery": "SELECT p FROM t, LATERAL (SELECT line(t.a, t.b) AS p)",
    "a CASE": "SELECT CASE WHEN a < 100 THEN line(a, b) END FROM t",
    "pipes": "FROM t |> EXTEND line() AS p |> SELECT p",
    "a call of a call": "SELECT line(wine(a, b), 0) / 10 FROM t",
    "ML_PREDICT": "SELECT ML_PREDICT('wine', a, b) FROM t",
    "ML_PREDICT with MODEL": "SELECT ML_PREDICT(MODEL wine, a, b) FROM t",
    "ML_PREDICT with a star": "SELECT ML_PREDICT('wine', *) FROM t",
    "ML_PREDICT with names": "SELECT ML_PREDICT('wine', b => b, a => a) FROM t",
    "ML_PREDICT by the signature": "SELECT ML_PREDICT('wine') FROM t",
    "params as a map": "SELECT ML_PREDICT('wine', a, b, params => map('k', 7)) - 7 FROM t",
    "params as a struct": "SELECT ML_PREDICT('wine', *, params => named_struct('k', 7)) - 7 FROM t",
    "a timeout": "SELECT ML_PREDICT('wine', a, b, timeout => '20s') FROM t",
    "on_error": "SELECT ML_PREDICT('wine', a, b, on_error => 'struct').prediction FROM t",
    "another version": "SELECT ML_PREDICT('wine', a, b, version => 2) - 90 * a FROM t",
    "a table with DESCRIPTOR": "SELECT prediction FROM ML_PREDICT(TABLE(t), MODEL wine, DESCRIPTOR(a, b))",
    "a table by the signature": "SELECT prediction FROM ML_PREDICT(TABLE(t), MODEL wine)",
    "a table from a query": "SELECT prediction FROM ML_PREDICT((SELECT a, b FROM t), MODEL line)",
    "a table with options": "SELECT prediction - 7 FROM ML_PREDICT(TABLE(t), 'wine', params => map('k', 7))",
    "a table with a map of options": "SELECT p.prediction.prediction FROM "
    "ML_PREDICT(TABLE(t), MODEL wine, DESCRIPTOR(a, b), MAP('on_error', 'struct')) AS p",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(caller: SparkSession, form: str) -> None:
    assert sorted(run(caller, FORMS[form])) == BOTH


def test_order_by_a_call(caller: SparkSession) -> None:
    assert run(caller, "SELECT c FROM t ORDER BY line(a, b) DESC") == [("y",), ("x",)]
    assert run(caller, "SELECT c FROM t ORDER BY line() DESC") == [("y",), ("x",)]
    assert run(caller, "SELECT c, line(*) AS p FROM t ORDER BY p DESC") == [("y", 34.0), ("x", 12.0)]


def test_dataframes(caller: SparkSession) -> None:
    table = caller.table("t")
    assert [tuple(row) for row in table.selectExpr("line(*)", "line()").collect()] == [(12.0, 12.0), (34.0, 34.0)]
    assert [tuple(row) for row in table.select(F.call_function("line", "a", "b")).collect()] == BOTH
    assert table.where("line(*) > 20").count() == 1


def test_a_view_over_calls_is_read_by_another_session(caller: SparkSession) -> None:
    calls = "line(*) AS p, line() AS q, ML_PREDICT(MODEL wine, a, b, params => map('k', 1)) AS r"
    run(caller, f"CREATE OR REPLACE VIEW calls AS SELECT {calls} FROM VALUES (1D, 2D) AS t(a, b)")
    try:
        assert run(caller.newSession(), "SELECT * FROM calls") == [(12.0, 12.0, 13.0)]
        assert run(caller, "SELECT * FROM calls") == [(12.0, 12.0, 13.0)]
    finally:
        run(caller, "DROP VIEW calls")


def test_a_prediction_is_named_as_the_call(shared: SparkSession) -> None:
    for call in ("line(a, b)", "wine(a, b)"):
        assert shared.sql(f"SELECT {call} FROM t").columns == [call]
    assert shared.sql("SELECT ML_PREDICT('wine', a, b, version => 2) FROM t").columns == ["wine(a, b)"]


def test_rows_at_fault(caller: SparkSession) -> None:
    call = "SELECT ML_PREDICT('wine', a - 2, b, on_error => '{}') FROM t ORDER BY a"
    assert run(caller, call.format("null")) == [(None,), (14.0,)]
    (failed,), (served,) = run(caller, call.format("struct"))
    assert tuple(served) == (14.0, None, 1)
    assert (failed.prediction, failed.version) == (None, 1)
    assert "[PREDICT_FAILED] Cannot score with 'wine': the model raised ValueError: negative a" in failed.error
    with pytest.raises(Exception, match=r"\[PREDICT_FAILED\] Cannot score with 'wine'"):
        run(caller, call.format("fail"))


def test_a_table_keeps_its_columns(shared: SparkSession) -> None:
    columns = shared.sql("SELECT * FROM ML_PREDICT(TABLE(t), MODEL wine, DESCRIPTOR(a, b))").columns
    assert columns == ["a", "b", "c", "prediction"]
    taken = "SELECT *, 1 AS Prediction, 2 AS prediction_1 FROM t"
    columns = shared.sql(f"SELECT * FROM ML_PREDICT(TABLE({taken}), MODEL wine)").columns
    assert columns == ["a", "b", "c", "Prediction", "prediction_1", "prediction_2"]


def test_null_and_no_rows(caller: SparkSession) -> None:
    first, second = (row[0] for row in run(caller, "SELECT line(a, b) FROM n ORDER BY b"))
    assert (first, math.isnan(second)) == (12.0, True)  # pandas has NaN where SQL has NULL, and so has what it computes
    assert math.isnan(value(caller, "line(NULL, 1)"))
    assert run(caller, "SELECT line(*), ML_PREDICT('wine', a, b) FROM e") == []
    assert run(caller, "SELECT * FROM ML_PREDICT(TABLE(e), MODEL wine)") == []
    assert run(caller, "SELECT count(line()) FROM e") == [(0,)]


def test_constants(caller: SparkSession) -> None:
    assert value(caller, "line(1, 2)") == 12.0
    assert value(caller, "line(b => 2, a => 1.5)") == 17.0


@pytest.fixture(scope="module")
def registered(shared: SparkSession) -> Iterator[SparkSession]:
    """A session in which Python has registered `f`, of the columns a and b, and `of_udf`, a `spark_udf`."""
    model = sm.register(shared, "f", "models:/sql_wine/1", num_cpus=0.1)
    udf = sm.spark_udf(shared, "models:/sql_wine/2", num_cpus=0.1)
    shared.udf.register("of_udf", udf)
    yield shared
    udf.model.drop()
    model.drop()


CALLS = ["(a, b)", "(b, a)", "(*)", "()", "(struct(*))", "(b => b, a => a)"]


@pytest.mark.parametrize("arguments", CALLS)
def test_functions_that_python_registered_have_the_same_forms(registered: SparkSession, arguments: str) -> None:
    assert run(registered, f"SELECT f{arguments} FROM t") == BOTH


def test_ml_predict_of_a_registered_function(registered: SparkSession) -> None:
    assert run(registered, "SELECT ML_PREDICT('f', *, params => map('k', 1)) FROM t") == [(13.0,), (35.0,)]


@pytest.mark.parametrize("arguments", ["()", "(a, b)", "(struct(a, b))"])
def test_a_spark_udf_that_was_registered(registered: SparkSession, arguments: str) -> None:
    assert run(registered, f"SELECT of_udf{arguments} FROM t") == [(102.0,), (304.0,)]


def test_names_that_could_mean_two_columns(shared: SparkSession) -> None:
    joined = "t JOIN t u ON t.c = u.c"
    for call in ("line(*)", "line(struct(*))", "line(*, a)", "line(a => 1, b => 2, a => 3)"):
        table = joined if call in ("line(*)", "line(struct(*))") else "t"
        with pytest.raises(AnalysisException, match=r"\[SCHEMA_MISMATCH\] .*column 'a' is there twice"):
            run(shared, f"SELECT {call} FROM {table}")
    assert run(shared, f"SELECT line(t.*) FROM {joined}") == BOTH


def test_predictions_agree_with_pandas(shared: SparkSession) -> None:
    table = shared.sql("SELECT id * 0.5D AS a, -id * 1D AS b FROM range(1000)")
    scored = table.selectExpr("a", "b", "line(*) AS p").toPandas()
    pd.testing.assert_series_equal(scored["p"], scored["a"] * 10 + scored["b"], check_names=False)
