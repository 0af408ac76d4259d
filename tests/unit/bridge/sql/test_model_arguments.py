# SPDX-License-Identifier: Apache-2.0
"""`ML_PREDICT(MODEL m, ...)` becomes what Spark can parse."""

from __future__ import annotations

import pytest

from tests.bridge import Jvm
from tests.unit.bridge.sql.conftest import WrongStatement, result

REWRITTEN = {
    "SELECT ML_PREDICT(MODEL churn, a) FROM t": "SELECT ML_PREDICT('churn'    , a) FROM t",
    "SELECT ml_predict ( model `a b` )": "SELECT ml_predict ( 'a b'       )",
    "SELECT ml_predict(a, MODEL m, b)": "SELECT ml_predict(a, 'm'    , b)",
    "SELECT ml_predict(model => MODEL m)": "SELECT ml_predict(model => 'm'    )",
    "SELECT ml_predict(f(a, b), MODEL /* c */ m)": "SELECT ml_predict(f(a, b), 'm'            )",
    "SELECT ml_predict(MODEL\n  m, a)": "SELECT ml_predict('m'  \n   , a)",
    "SELECT ml_predict(MODEL\r\n  churn_v2, a)": "SELECT ml_predict('chu'\r\n'rn_v2'   , a)",
    "SELECT '\U0001f600', ml_predict(MODEL m)": "SELECT '\U0001f600', ml_predict('m'    )",
    "SELECT ml_predict(MODEL m, ml_predict(MODEL n))": "SELECT ml_predict('m'    , ml_predict('n'    ))",
    "SELECT * FROM ML_PREDICT(TABLE t, MODEL m, DESCRIPTOR(a, b))": (
        "SELECT * FROM ML_PREDICT(TABLE(t),'m'    , DESCRIPTOR(a, b))"
    ),
    "SELECT * FROM ML_PREDICT(TABLE c.d.t,MODEL m,DESCRIPTOR(a))": (
        "SELECT * FROM ML_PREDICT(TABLE(c.d.t),'m'   ,DESCRIPTOR(a))"
    ),
    "SELECT * FROM ml_predict(table /* c */ `a b`,'m n', DESCRIPTOR(a))": (
        "SELECT * FROM ml_predict(table(/* c */ `a b`),'m n',DESCRIPTOR(a))"
    ),
    "SELECT * FROM ml_predict(TABLE t, 'm'), ml_predict(TABLE \n d.u, MODEL m)": (
        "SELECT * FROM ml_predict(TABLE(t),'m'), ml_predict(TABLE(\n d.u),'m'    )"
    ),
}
KEPT = [
    "SELECT ml_predict(model, a), ml_predict(a, model)",
    "SELECT ml_predict(MODEL m + 1), ml_predict(MODEL m n), ml_predict(MODEL a.b)",
    "SELECT ml_predict((MODEL m), array(MODEL m), x[MODEL m])",
    "SELECT ml_predict(a MODEL m), ml_predict(MODEL 'm'), ml_predict(MODEL `it's`)",
    "SELECT 'ml_predict(MODEL m)', predict(MODEL m) -- ml_predict(MODEL m)",
    "SELECT ml_predict(MODEL m, a",
    "SELECT * FROM ml_predict(TABLE(t), 'm'), ml_predict(TABLE t PARTITION BY a, 'm'), ml_predict((TABLE t), 'm')",
    "SELECT * FROM f(TABLE t, 'm'), ml_predict(f(TABLE t), 'm'), ml_predict(TABLE t",
    "CREATE TABLE ml_predict (model INT, a INT)",
    "CREATE TABLE IF NOT EXISTS db.ml_predict (a INT, model INT)",
    "CREATE FUNCTION a.b.ml_predict(model INT) RETURNS INT RETURN 1",
]


@pytest.mark.parametrize("sql", REWRITTEN)
def test_a_model_becomes_a_string_in_the_same_place(sql: str, parser: Jvm) -> None:
    found = parser.call("rewrite", sql=sql)
    assert found == REWRITTEN[sql]
    assert [len(line) for line in found.split("\n")] == [len(line) for line in sql.split("\n")]


def test_a_line_that_has_no_blank_to_spare_grows(parser: Jvm) -> None:
    sql = "SELECT * FROM ml_predict(TABLE t,\n'm',DESCRIPTOR(a))"
    assert parser.call("rewrite", sql=sql) == "SELECT * FROM ml_predict(TABLE(t),\n'm',DESCRIPTOR(a))"


@pytest.mark.parametrize("sql", KEPT)
def test_all_else_is_kept(sql: str, parser: Jvm) -> None:
    assert parser.call("rewrite", sql=sql) == sql


@pytest.mark.parametrize("model", ["m", "`a b`", "\n  churn_v2"])
def test_spark_sees_the_call_with_a_string(model: str, parser: Jvm) -> None:
    name = model.strip(" `\n")
    ours = parser.call("plans", sql=f"SELECT ml_predict(MODEL {model}, a) FROM t")[1]
    plain = parser.call("plans", sql=f"SELECT ml_predict('{name}', a) FROM t")[0]
    assert result(ours) == result(plain)
    ours = parser.call("expressions", sql=f"ml_predict(MODEL {model}, a) > 1")[1]
    plain = parser.call("expressions", sql=f"ml_predict('{name}', a) > 1")[0]
    assert result(ours) == result(plain)


def test_spark_sees_a_table_in_brackets(parser: Jvm) -> None:
    ours = parser.call("plans", sql="SELECT * FROM ml_predict(TABLE d.t, MODEL m, DESCRIPTOR(a)) WHERE a > 1")[1]
    plain = parser.call("plans", sql="SELECT * FROM ml_predict(TABLE(d.t), 'm', DESCRIPTOR(a)) WHERE a > 1")[0]
    assert result(ours) == result(plain)
    with pytest.raises(WrongStatement, match="MISSING_PARENTHESES"):
        result(parser.call("plans", sql="SELECT * FROM ml_predict(TABLE d.t, 'm', DESCRIPTOR(a)) WHERE a > 1")[0])


def test_an_error_shows_the_text_as_written(parser: Jvm) -> None:
    sql = "SELECT ml_predict(MODEL m, a) FROM t WHERE ORDER a"
    with pytest.raises(WrongStatement) as caught:
        result(parser.call("plans", sql=sql)[1])
    assert sql in str(caught.value)
    assert caught.value.place == (1, 43)
