# SPDX-License-Identifier: Apache-2.0
"""Each statement about models, as it is read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bridge import Jvm
from tests.unit.bridge.sql.conftest import WrongStatement, result


def parsed(parser: Jvm, sql: str, **parameters: Any) -> Any:
    return result(parser.call("parse", sql=sql, **parameters))


def create(name: str = "m", **parts: Any) -> dict[str, Any]:
    """A CreateModel of which all is left out that is not given."""
    empty = dict.fromkeys(("inputs", "output", "comment", "using", "location", "code"))
    flags = dict.fromkeys(("replace", "temporary", "ifNotExists"), False)
    return {"kind": "CreateModel", "name": name, **empty, **flags, "options": [], **parts}


def drop(name: str = "m", if_exists: bool = False, force: bool = False) -> dict[str, Any]:
    return {"kind": "DropModel", "name": name, "ifExists": if_exists, "force": force}


def alter(kind: str, **parts: Any) -> dict[str, Any]:
    return {"kind": "AlterModel", "name": "m", "action": {"kind": kind, **parts}}


CREATED: dict[str, dict[str, Any]] = {
    "CREATE MODEL m LOCATION 'x'": create(location="x"),
    "create model m location 'x';": create(location="x"),
    "CREATE OR REPLACE MODEL m LOCATION 'x'": create(location="x", replace=True),
    "CREATE TEMPORARY MODEL m LOCATION 'x'": create(location="x", temporary=True),
    "CREATE OR REPLACE TEMP MODEL m LOCATION 'x'": create(location="x", replace=True, temporary=True),
    "CREATE MODEL IF NOT EXISTS m LOCATION 'x'": create(location="x", ifNotExists=True),
    "CREATE MODEL `a ``b` LOCATION 'x'": create("a `b", location="x"),
    "CREATE MODEL `location` LOCATION 'x'": create("location", location="x"),
    "CREATE MODEL model LOCATION 'x'": create("model", location="x"),
    "/* a */ CREATE -- b\n MODEL m LOCATION 'x' -- c": create(location="x"),
    "CREATE MODEL m INPUT (a INT, b DECIMAL(10, 2)) LOCATION 'x'": create(
        location="x", inputs="a INT, b DECIMAL(10, 2)"
    ),
    "CREATE MODEL m INPUT(a STRING COMMENT ')') LOCATION 'x'": create(location="x", inputs="a STRING COMMENT ')'"),
    "CREATE MODEL m OUTPUT (p DOUBLE) LOCATION 'x'": create(location="x", output="DOUBLE"),
    "CREATE MODEL m OUTPUT (p DOUBLE, `a b` array<int>) LOCATION 'x'": create(
        location="x", output="STRUCT<p: DOUBLE, `a b`: ARRAY<INT>>"
    ),
    "CREATE MODEL m RETURNS double LOCATION 'x'": create(location="x", output="double"),
    "CREATE MODEL m RETURNS double RETURNS NULL ON NULL INPUT LOCATION 'x'": create(
        location="x", output="double", options=[["null_input", "null"]]
    ),
    "CREATE MODEL m INPUT (a INT) CALLED ON NULL INPUT LOCATION 'x' OPTIONS (k = 1)": create(
        location="x", inputs="a INT", options=[["k", 1], ["null_input", "call"]]
    ),
    "CREATE MODEL m LOCATION 'x' RETURNS struct<location: int, b: array<array<int>>>": create(
        location="x", output="struct<location: int, b: array<array<int>>>"
    ),
    "CREATE MODEL m RETURNS decimal(10, 2) COMMENT 'c' LOCATION 'x'": create(
        location="x", output="decimal(10, 2)", comment="c"
    ),
    "CREATE MODEL m LOCATION 'x' COMMENT 'it''s \\'a\\' \\u0041'": create(location="x", comment="it's 'a' A"),
    "CREATE MODEL m LOCATION r'a\\b'": create(location="a\\b"),
    'CREATE MODEL m LOCATION "x"': create(location="x"),
    "CREATE MODEL m LOCATION 'models:' '/x'": create(location="models:/x"),
    "CREATE MODEL m USING MLflow LOCATION 'x'": create(location="x", using="mlflow"),
    "CREATE MODEL m USING table LOCATION 'db.t@3'": create(location="db.t@3", using="table"),
    "CREATE MODEL m USING pickle LOCATION 'x'": create(location="x", using="pickle"),
    "CREATE MODEL m USING sparkml LOCATION 'x'": create(location="x", using="sparkml"),
    "CREATE MODEL m USING python LOCATION 'pkg.mod:Name'": create(location="pkg.mod:Name", using="python"),
    "CREATE MODEL m USING python AS $$\ndef f(x):\n  return '\"; -- /* $1\n$$;": create(
        using="python", code="\ndef f(x):\n  return '\"; -- /* $1\n"
    ),
    "CREATE MODEL m AS $py$ a $$ b $py$ USING python OPTIONS (a 1)": create(
        using="python", code=" a $$ b ", options=[["a", 1]]
    ),
    "CREATE MODEL m USING python AS $$\U0001f600$$ COMMENT '\U0001f600'": create(
        using="python", code="\U0001f600", comment="\U0001f600"
    ),
    "CREATE MODEL m USING python AS 'a = 1'": create(using="python", code="a = 1"),
    "CREATE MODEL m WITH (a = '1', b 2) LOCATION 'x'": create(location="x", options=[["a", "1"], ["b", 2]]),
    "REGISTER MODEL 'models:/m@c' AS f": create("f", location="models:/m@c", replace=True, temporary=True),
    "REGISTER MODEL 'u' AS f OPTIONS (workers = 2)": create(
        "f", location="u", replace=True, temporary=True, options=[["workers", 2]]
    ),
}
OTHERS: dict[str, dict[str, Any]] = {
    "UNREGISTER MODEL m": drop(),
    "DROP MODEL m": drop(),
    "DROP MODEL IF EXISTS m": drop(if_exists=True),
    "DROP MODEL m FORCE": drop(force=True),
    "drop model if exists `m` force;;": drop(if_exists=True, force=True),
    "ALTER MODEL m SET LOCATION 'models:/m/2'": alter("SetLocation", uri="models:/m/2", options=[]),
    "ALTER MODEL m SET LOCATION 'u' OPTIONS (traffic = 0.05, keep_old '30s', allow_new_inputs = TRUE)": alter(
        "SetLocation", uri="u", options=[["traffic", 0.05], ["keep_old", "30s"], ["allow_new_inputs", True]]
    ),
    "ALTER MODEL m SET LOCATION 'u' WITH (stop_first = true);": alter(
        "SetLocation", uri="u", options=[["stop_first", True]]
    ),
    "ALTER MODEL m SET OPTIONS (a = 1, b.c 'x')": alter("SetOptions", options=[["a", 1], ["b.c", "x"]]),
    "ALTER MODEL m UNSET OPTIONS (a, b.c, 'd e')": alter("UnsetOptions", keys=["a", "b.c", "d e"]),
    "ALTER MODEL m SCALE TO 4": alter("ScaleTo", least=4, most=4),
    "ALTER MODEL m SCALE TO '0..3'": alter("ScaleTo", least=0, most=3),
    "ALTER MODEL m SCALE TO ' 1 .. 8 '": alter("ScaleTo", least=1, most=8),
    "ALTER MODEL m SCALE TO '4'": alter("ScaleTo", least=4, most=4),
    "ALTER MODEL m REFRESH": alter("Refresh"),
    "ALTER MODEL m PROMOTE": alter("Promote"),
    "ALTER MODEL promote PROMOTE": {**alter("Promote"), "name": "promote"},
    "ALTER MODEL m ROLLBACK": alter("Rollback", to=None),
    "ALTER MODEL m ROLLBACK TO 7": alter("Rollback", to=7),
    "SHOW MODEL VERSIONS m": {"kind": "ShowModelVersions", "name": "m"},
    "show model versions `a b`;": {"kind": "ShowModelVersions", "name": "a b"},
    "SHOW MODEL VERSIONS versions": {"kind": "ShowModelVersions", "name": "versions"},
    "ALTER MODEL scale SCALE TO 1": {**alter("ScaleTo", least=1, most=1), "name": "scale"},
    "SHOW MODELS": {"kind": "ShowModels", "pattern": None},
    "SHOW MODELS LIKE 'c*|d*'": {"kind": "ShowModels", "pattern": "c*|d*"},
    "SHOW MODELS 'c*'": {"kind": "ShowModels", "pattern": "c*"},
    "SHOW CREATE MODEL m": {"kind": "ShowCreateModel", "name": "m"},
    "DESCRIBE MODEL m": {"kind": "DescribeModel", "name": "m", "extended": False},
    "DESC MODEL m": {"kind": "DescribeModel", "name": "m", "extended": False},
    "DESC MODEL EXTENDED m;": {"kind": "DescribeModel", "name": "m", "extended": True},
    "EXPLAIN DROP MODEL m": {"kind": "ExplainModel", "statement": drop(), "mode": "SIMPLE"},
    "explain extended CREATE MODEL m LOCATION 'x'": {
        "kind": "ExplainModel",
        "statement": create(location="x"),
        "mode": "EXTENDED",
    },
    "DESCRIBE MODEL `m`": {"kind": "DescribeModel", "name": "m", "extended": False},
}


@pytest.mark.parametrize("sql", [*CREATED, *OTHERS])
def test_a_statement_is_read(sql: str, parser: Jvm) -> None:
    assert parsed(parser, sql) == {**CREATED, **OTHERS}[sql]


def test_options_have_the_types_that_they_are_written_with(parser: Jvm) -> None:
    written = {
        "workers = '1..8'": ["workers", "1..8"],
        "workers '8'": ["workers", "8"],
        "n = 3": ["n", 3],
        "n = -3": ["n", -3],
        "n 5000000000": ["n", 5_000_000_000],
        "n = 7L": ["n", 7],
        "x = 0.5": ["x", 0.5],
        "x = -.5": ["x", -0.5],
        "x = 1e3": ["x", 1000.0],
        "x = 2D": ["x", 2.0],
        "x = 2BD": ["x", 2.0],
        "warm = true": ["warm", True],
        "warm FALSE": ["warm", False],
        "extra_env.HF_HOME = '/x'": ["extra_env.HF_HOME", "/x"],
        "model_config.`a b`.c = 1": ["model_config.a b.c", 1],
        "'quoted.key' = 1": ["quoted.key", 1],
        "options = 1": ["options", 1],
    }
    for option, expected in written.items():
        found = parsed(parser, f"CREATE MODEL m LOCATION 'x' OPTIONS ({option})")["options"]
        assert found == [expected], option
        assert type(found[0][1]) is type(expected[1]), option
    many = parsed(parser, f"ALTER MODEL m SET OPTIONS ({', '.join(f'k{i} = {i}' for i in range(20))})")
    assert many["action"]["options"] == [[f"k{i}", i] for i in range(20)]


def test_the_clauses_come_in_any_order(parser: Jvm) -> None:
    clauses = ["LOCATION 'x'", "USING mlflow", "COMMENT 'c'", "RETURNS int", "INPUT (a int)", "OPTIONS (k = 1)"]
    expected = create(location="x", using="mlflow", comment="c", output="int", inputs="a int", options=[["k", 1]])
    for _ in clauses:
        clauses = [*clauses[1:], clauses[0]]
        assert parsed(parser, "CREATE MODEL m " + " ".join(clauses)) == expected
        assert parsed(parser, "CREATE MODEL m " + "\n".join(reversed(clauses))) == expected


def test_parameters_are_values(parser: Jvm) -> None:
    sql = "CREATE MODEL m LOCATION :uri OPTIONS (a = :n, b :x, c = :yes)"
    given = {"uri": "models:/m", "n": 3, "x": 0.5, "yes": True}
    expected = create(location="models:/m", options=[["a", 3], ["b", 0.5], ["c", True]])
    assert parsed(parser, sql, named=given) == expected
    sql = "CREATE MODEL m LOCATION ? OPTIONS (a = ?, b ?, c = ?)"
    assert parsed(parser, sql, positional=list(given.values())) == expected
    assert parsed(parser, "ALTER MODEL m SCALE TO :n", named=given) == alter("ScaleTo", least=3, most=3)
    assert parsed(parser, "ALTER MODEL m SCALE TO :r", named={"r": "0..2"}) == alter("ScaleTo", least=0, most=2)
    assert parsed(parser, "ALTER MODEL m ROLLBACK TO :n", named=given) == alter("Rollback", to=3)


@pytest.mark.parametrize(
    ("sql", "named", "condition", "said"),
    [
        ("CREATE MODEL m LOCATION :uri", {}, "UNBOUND_SQL_PARAMETER", "unbound parameter: uri"),
        ("CREATE MODEL m LOCATION ?", {}, "UNBOUND_SQL_PARAMETER", "unbound parameter: _24"),
        ("CREATE MODEL m LOCATION :a", {"a": 1}, "PARSE_SYNTAX_ERROR", "expected a location as a string"),
        ("DROP MODEL :a", {"a": "m"}, "PARSE_SYNTAX_ERROR", "a model's name"),
        ("ALTER MODEL m SET OPTIONS (k = :a)", {"a": ["x"]}, "PARSE_SYNTAX_ERROR", "a string, a number or a boolean"),
        ("ALTER MODEL m SCALE TO :a", {"a": "x"}, "PARSE_SYNTAX_ERROR", "a number of workers"),
    ],
)
def test_a_parameter_that_cannot_be_used(
    sql: str, named: dict[str, Any], condition: str, said: str, parser: Jvm
) -> None:
    with pytest.raises(WrongStatement) as caught:
        parsed(parser, sql, named=named)
    assert caught.value.condition == condition
    assert said in str(caught.value)


def test_a_session_runs_statements(parser: Jvm) -> None:
    def ran(sql: str, **named: Any) -> Any:
        return result(parser.call("run", sql=sql, **({"named": named} if named else {})))

    dropped = ["[DropModel(m,false,false)]"]
    assert ran("DROP MODEL m") == dropped
    located = ["[AlterModel(m,SetLocation(models:/x,List()))]"]
    assert ran("ALTER MODEL m SET LOCATION :uri", uri="models:/x") == located
    ran("SET uri = models:/x")
    assert ran("ALTER MODEL m SET LOCATION '${uri}'") == located
    assert ran("EXECUTE IMMEDIATE 'DROP MODEL m'") == dropped
    assert ran("EXECUTE IMMEDIATE 'ALTER MODEL m SET LOCATION :u' USING 'models:/x' AS u") == located
    assert ran("EXECUTE IMMEDIATE 'ALTER MODEL m SET LOCATION ?' USING 'models:/x'") == located


def test_a_script_runs_statements_that_are_executed_as_text_only(parser: Jvm) -> None:
    result(parser.call("run", sql="BEGIN EXECUTE IMMEDIATE 'DROP MODEL m'; END"))
    with pytest.raises(WrongStatement, match="Syntax error at or near 'MODEL'"):
        result(parser.call("run", sql="BEGIN DROP MODEL m; END"))


def test_the_parser_is_an_object_like_others(parser: Jvm) -> None:
    assert parser.call("same") is True
