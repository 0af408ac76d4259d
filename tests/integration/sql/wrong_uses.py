# SPDX-License-Identifier: Apache-2.0
"""Wrong uses of SQL about models, and what they are told; docs/reference/sql-errors.md is made of this table.

`{home}` is a directory with files of `conftest.py`. The models `line` and `wine` and the table t (a, b, c) are there.
"""

from __future__ import annotations

from typing import NamedTuple

SYNTAX = ("PARSE_SYNTAX_ERROR", "42601")
OPTION = ("INVALID_OPTION", "22023")
MISSING = ("MODEL_NOT_FOUND", "42704")
TAKEN = ("NAME_TAKEN", "42710")
MISFIT = ("SCHEMA_MISMATCH", "42804")
SOURCE = ("UNSUPPORTED_SOURCE", "0A000")
LOAD = ("MODEL_LOAD_FAILED", "38000")
RAISED = ("PREDICT_FAILED", "38000")
DDL = ("DDL_NOT_ALLOWED", "42501")
PLACE = ("LOCATION_NOT_ALLOWED", "42501")
INLINE = ("INLINE_CODE_NOT_ALLOWED", "42501")


class WrongUse(NamedTuple):
    """A statement and the error that it gives.

    Attributes:
        section: Of the page.
        title: What is wrong.
        statement: The SQL.
        condition, sqlstate: Of the error.
    """

    section: str
    title: str
    statement: str
    condition: str
    sqlstate: str


def _of(section: str, *uses: tuple[str, str, tuple[str, str]]) -> list[WrongUse]:
    return [WrongUse(section, title, statement, *error) for title, statement, error in uses]


_AT = "LOCATION 'models:/sql_wine/1'"
_MOVED = "ALTER MODEL line SET LOCATION 'tests.models:first_column' OPTIONS"
_PYTHON = "RETURNS double USING python LOCATION"

WRONG_USES: list[WrongUse] = [
    *_of(
        "CREATE MODEL: the statement",
        ("no location", "CREATE MODEL x", SYNTAX),
        ("a clause misspelt", "CREATE MODEL x LOCATOIN 'models:/sql_wine/1'", SYNTAX),
        ("a location without quotes", "CREATE MODEL x LOCATION models:/sql_wine/1", SYNTAX),
        ("a clause twice", f"CREATE MODEL x {_AT} {_AT}", SYNTAX),
        ("an unknown kind", f"CREATE MODEL x USING mlfow {_AT}", SYNTAX),
        ("code of no kind", "CREATE MODEL x AS $$def predict(frame): return 1$$", SYNTAX),
        ("code and a location", f"CREATE MODEL x USING python {_AT} AS $$x = 1$$", SYNTAX),
        ("code without an end", "CREATE MODEL x RETURNS double USING python AS $$def predict(", SYNTAX),
        ("both ways to treat a taken name", f"CREATE OR REPLACE MODEL IF NOT EXISTS x {_AT}", SYNTAX),
        ("a type that is none", f"CREATE MODEL x RETURNS number {_AT}", ("UNSUPPORTED_DATATYPE", "0A000")),
        ("columns without an end", f"CREATE MODEL x INPUT (a double {_AT}", SYNTAX),
        ("a column twice", "CREATE MODEL x INPUT (a double, a int) " + _PYTHON + " 'pkg.module:Model'", OPTION),
    ),
    *_of(
        "CREATE MODEL: the name",
        ("a schema", f"CREATE MODEL db.x {_AT}", SYNTAX),
        ("characters that a function cannot have", f"CREATE MODEL `a b` {_AT}", ("INVALID_NAME", "42602")),
        ("a model's", f"CREATE MODEL line {_AT}", TAKEN),
        ("a model's in another case", f"CREATE MODEL LINE {_AT}", TAKEN),
        ("a function's", f"CREATE MODEL abs {_AT}", TAKEN),
        ("a shared model's for a temporary one", "REGISTER MODEL 'models:/sql_wine/1' AS line", TAKEN),
    ),
    *_of(
        "CREATE MODEL: options",
        ("an unknown one", f"CREATE MODEL x {_AT} OPTIONS (wokers = 2)", OPTION),
        ("of a model that is there already", f"CREATE MODEL IF NOT EXISTS line {_AT} OPTIONS (workers = 0)", OPTION),
        ("one without a value", f"CREATE MODEL x {_AT} OPTIONS (workers)", SYNTAX),
        ("NULL", f"CREATE MODEL x {_AT} OPTIONS (workers = NULL)", SYNTAX),
        ("an expression", f"CREATE MODEL x {_AT} OPTIONS (workers = 1 + 1)", SYNTAX),
        ("one twice", f"CREATE MODEL x {_AT} OPTIONS (workers = 1, workers = 2)", SYNTAX),
        ("one by two of its names", f"CREATE MODEL x {_AT} OPTIONS (timeout = '5s', timeout_s = 5)", OPTION),
        ("out of range", f"CREATE MODEL x {_AT} OPTIONS (workers = 0)", OPTION),
        ("another type", f"CREATE MODEL x {_AT} OPTIONS (workers = 'two')", OPTION),
        ("no duration", f"CREATE MODEL x {_AT} OPTIONS (timeout = 'soon')", OPTION),
        ("none of the words", f"CREATE MODEL x {_AT} OPTIONS (on_error = 'ignore')", OPTION),
        ("an entry of what has none", f"CREATE MODEL x {_AT} OPTIONS (workers.a = 1)", OPTION),
        ("a param that the model does not know", f"CREATE MODEL x {_AT} OPTIONS (params.j = 1)", OPTION),
        ("the type twice", f"CREATE MODEL x RETURNS double {_AT} OPTIONS (result_type = 'double')", OPTION),
        (
            "more than the cluster has",
            f"CREATE MODEL x {_AT} OPTIONS (num_cpus = 1000, ready_timeout = '1s')",
            ("POOL_NOT_PLACED", "53000"),
        ),
    ),
    *_of(
        "CREATE MODEL: the source",
        ("no such registered model", "CREATE MODEL x LOCATION 'models:/sql_wien/1'", MISSING),
        ("no such version", "CREATE MODEL x LOCATION 'models:/sql_wine/7'", MISSING),
        ("no such alias", "CREATE MODEL x LOCATION 'models:/sql_wine@champoin'", MISSING),
        ("no such directory", "CREATE MODEL x LOCATION '/no/such/model'", MISSING),
        ("a directory of another kind", "CREATE MODEL x LOCATION '{home}/empty'", SOURCE),
        ("an empty location", "CREATE MODEL x LOCATION ''", OPTION),
        (
            "a pickle that is not trusted",
            "CREATE MODEL x RETURNS double LOCATION '{home}/line.pkl'",
            ("UNTRUSTED_MODEL_FILE", "42501"),
        ),
        (
            "a damaged pickle",
            "CREATE MODEL x RETURNS double LOCATION '{home}/broken.pkl' OPTIONS (trust_pickle = true)",
            SOURCE,
        ),
        (
            "a missing pickle",
            "CREATE MODEL x USING pickle LOCATION '{home}/none.pkl' OPTIONS (trust_pickle = true)",
            MISSING,
        ),
        ("a location of another kind", "CREATE MODEL x USING mlflow LOCATION '{home}/line.pkl'", SOURCE),
        (
            "no type to return",
            "CREATE MODEL x USING python LOCATION 'tests.models:DoubleModel'",
            ("RESULT_TYPE_UNKNOWN", "42804"),
        ),
        ("no import path", f"CREATE MODEL x {_PYTHON} 'tests.models'", SOURCE),
        ("no such module", f"CREATE MODEL x {_PYTHON} 'nothere:Model'", LOAD),
        (
            "code that is no Python",
            "CREATE MODEL x RETURNS double USING python AS $$def predict(frame: return 1$$",
            LOAD,
        ),
        ("code without predict", "CREATE MODEL x RETURNS double USING python AS $$x = 1$$", SOURCE),
        (
            "a model that raises when it is loaded",
            "CREATE MODEL x RETURNS double USING python AS $$raise ValueError('no weights')\ndef predict(f): pass$$",
            LOAD,
        ),
        ("no such table", "CREATE MODEL x USING table LOCATION 'no_table'", MISSING),
        ("a table without a model", "CREATE MODEL x USING table LOCATION 't'", ("MODEL_CORRUPT", "38000")),
        ("a table without versions", "CREATE MODEL x USING table LOCATION 't@3'", SOURCE),
        ("no such model of Spark ML", "CREATE MODEL x USING sparkml LOCATION '/no/such/model'", MISSING),
        ("no model of Spark ML", "CREATE MODEL x USING sparkml LOCATION '{home}/empty'", SOURCE),
        (
            "workers for a model of Spark ML",
            "CREATE MODEL x USING sparkml LOCATION '{home}/empty' OPTIONS (workers = 2)",
            OPTION,
        ),
        ("other inputs than the signature's", f"CREATE MODEL x INPUT (z double) {_AT}", MISFIT),
    ),
    *_of(
        "REGISTER and UNREGISTER MODEL",
        ("no quotes", "REGISTER MODEL wine AS x", SYNTAX),
        ("no AS", "REGISTER MODEL 'models:/sql_wine/1' x", SYNTAX),
        ("no such model to register", "REGISTER MODEL 'models:/sql_wine/7' AS x", MISSING),
        ("no such model to unregister", "UNREGISTER MODEL lien", MISSING),
        ("IF EXISTS", "UNREGISTER MODEL IF EXISTS line", SYNTAX),
    ),
    *_of(
        "ALTER MODEL",
        ("no such model", "ALTER MODEL lien REFRESH", MISSING),
        ("an action misspelt", "ALTER MODEL line ROLBACK", SYNTAX),
        ("no action", "ALTER MODEL line SET", SYNTAX),
        ("an unknown option", "ALTER MODEL line SET OPTIONS (wokers = 2)", OPTION),
        ("an option that is settled", "ALTER MODEL line SET OPTIONS (tls = true)", OPTION),
        (
            "an option that changes the function",
            "ALTER MODEL line SET OPTIONS (on_error = 'struct')",
            ("RESULT_TYPE_CHANGED", "42804"),
        ),
        ("an unknown option to unset", "ALTER MODEL line UNSET OPTIONS (wokers)", OPTION),
        ("no workers", "ALTER MODEL line SCALE TO 0", SYNTAX),
        ("a location of another kind", "ALTER MODEL line SET LOCATION 'models:/sql_wine/1'", SOURCE),
        ("a location where nothing is", "ALTER MODEL wine SET LOCATION '/no/such/model'", MISSING),
        ("nothing to go back to", "ALTER MODEL line ROLLBACK", ("NO_PREVIOUS_VERSION", "55000")),
        ("another name", "ALTER MODEL line RENAME TO x", SYNTAX),
        ("a range of workers upside down", "ALTER MODEL line SCALE TO '3..1'", SYNTAX),
        ("a share of queries beyond all", f"{_MOVED} (traffic = 5)", OPTION),
        ("a way to a location misspelt", f"{_MOVED} (trafic = 0.05)", OPTION),
        ("old versions for ever", f"{_MOVED} (keep_old = 'forever')", OPTION),
        ("no canary to promote", "ALTER MODEL line PROMOTE", OPTION),
        ("a version that never was", "ALTER MODEL line ROLLBACK TO 9", ("VERSION_RETIRED", "55000")),
        ("a version without a number", "ALTER MODEL line ROLLBACK TO first", SYNTAX),
    ),
    *_of(
        "DROP MODEL",
        ("no such model", "DROP MODEL lien", MISSING),
        ("a function that is no model", "DROP MODEL abs", MISSING),
        ("IF EXISTS misspelt", "DROP MODEL IF EXIST line", SYNTAX),
        ("two models", "DROP MODEL line, wine", SYNTAX),
        ("another session has called it", "DROP MODEL line", ("MODEL_IN_USE", "55006")),
    ),
    *_of(
        "SHOW and DESCRIBE MODEL",
        ("a pattern without quotes", "SHOW MODELS LIKE line", SYNTAX),
        ("a schema", "SHOW MODELS IN db", SYNTAX),
        ("no such model to show", "SHOW CREATE MODEL lien", MISSING),
        ("no such model to describe", "DESCRIBE MODEL EXTENDED lien", MISSING),
        ("no name", "DESCRIBE MODEL EXTENDED", SYNTAX),
        ("no such model to show versions of", "SHOW MODEL VERSIONS lien", MISSING),
        ("versions misspelt", "SHOW MODEL VERSION line", SYNTAX),
    ),
    *_of(
        "Calls",
        ("no such model", "SELECT lien(a, b) FROM t", ("UNRESOLVED_ROUTINE", "42883")),
        ("no such column", "SELECT line(a, z) FROM t", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        ("too few columns", "SELECT line(a) FROM t", MISFIT),
        ("too many columns", "SELECT line(a, b, c) FROM t", MISFIT),
        ("a column of another type", "SELECT line(a, c) FROM t", MISFIT),
        ("a column at another's place", "SELECT line(b, 1) FROM t", MISFIT),
        ("an input that the model does not have", "SELECT line(x => a, b => b) FROM t", MISFIT),
        ("an input that is not named", "SELECT line(a => a) FROM t", MISFIT),
        ("some arguments named", "SELECT line(a, b => b) FROM t", MISFIT),
        ("an argument twice", "SELECT line(a => 1, b => 2, a => 3)", MISFIT),
        ("a struct without a column", "SELECT line(struct(a)) FROM t", MISFIT),
        ("a star without a column", "SELECT line(*) FROM (SELECT a FROM t)", MISFIT),
        ("a star with a column twice", "SELECT line(*) FROM t JOIN t u ON t.a = u.a", MISFIT),
        (
            "no arguments, and no such column",
            "SELECT line() FROM (SELECT a FROM t)",
            ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703"),
        ),
        (
            "DISTINCT",
            "SELECT line(DISTINCT a, b) FROM t",
            ("INVALID_SQL_SYNTAX.FUNCTION_WITH_UNSUPPORTED_SYNTAX", "42000"),
        ),
        ("a model that raises", "SELECT wine(-a, b) FROM t", RAISED),
    ),
    *_of(
        "ML_PREDICT",
        ("no model", "SELECT ML_PREDICT()", MISFIT),
        ("no such model", "SELECT ML_PREDICT('wien', a, b) FROM t", MISSING),
        ("NULL for a model", "SELECT ML_PREDICT(NULL, a, b) FROM t", MISSING),
        ("a column for a model", "SELECT ML_PREDICT(c, a, b) FROM t", OPTION),
        ("an option misspelt", "SELECT ML_PREDICT('wine', a, b, on_errors => 'null') FROM t", MISFIT),
        ("an option twice", "SELECT ML_PREDICT('wine', a, b, timeout => '5s', timeout => '6s') FROM t", OPTION),
        ("NULL for an option", "SELECT ML_PREDICT('wine', a, b, on_error => NULL) FROM t", OPTION),
        ("a column for an option", "SELECT ML_PREDICT('wine', a, b, on_error => c) FROM t", OPTION),
        ("none of the words", "SELECT ML_PREDICT('wine', a, b, on_error => 'ignore') FROM t", OPTION),
        ("no duration", "SELECT ML_PREDICT('wine', a, b, timeout => 'soon') FROM t", OPTION),
        ("no time at all", "SELECT ML_PREDICT('wine', a, b, timeout => '0s') FROM t", OPTION),
        ("more time than there is", "SELECT ML_PREDICT('wine', a, b, timeout => '30000h') FROM t", OPTION),
        ("no such version", "SELECT ML_PREDICT('wine', a, b, version => 7) FROM t", MISSING),
        ("no version", "SELECT ML_PREDICT('wine', a, b, version => 'champion') FROM t", OPTION),
        ("a version of what has none", "SELECT ML_PREDICT('line', a, b, version => 1) FROM t", OPTION),
        ("params that are no map", "SELECT ML_PREDICT('wine', a, b, params => 3) FROM t", OPTION),
        ("params with columns", "SELECT ML_PREDICT('wine', a, b, params => map('k', a)) FROM t", OPTION),
        ("an unknown param", "SELECT ML_PREDICT('wine', a, b, params => map('j', 1)) FROM t", OPTION),
    ),
    *_of(
        "ML_PREDICT in FROM",
        ("no model", "SELECT * FROM ML_PREDICT(TABLE(t))", MISFIT),
        ("a name for a table", "SELECT * FROM ML_PREDICT(t, MODEL wine)", MISFIT),
        ("no such table", "SELECT * FROM ML_PREDICT(TABLE(z), MODEL wine)", ("TABLE_OR_VIEW_NOT_FOUND", "42P01")),
        ("no such model", "SELECT * FROM ML_PREDICT(TABLE(t), MODEL wien)", MISSING),
        ("columns without DESCRIPTOR", "SELECT * FROM ML_PREDICT(TABLE(t), MODEL wine, a, b)", MISFIT),
        ("too few columns", "SELECT * FROM ML_PREDICT(TABLE(t), MODEL wine, DESCRIPTOR(a))", MISFIT),
        (
            "none of the words",
            "SELECT * FROM ML_PREDICT(TABLE(t), MODEL wine, DESCRIPTOR(a, b), MAP('on_error', 'ignore'))",
            OPTION,
        ),
    ),
    *_of(
        "Predictions",
        ("another number of rows", "SELECT shorter(id) FROM range(0, 4, 1, 1)", ("WRONG_ROW_COUNT", "38000")),
        ("another type than was declared", "SELECT texts(a) FROM t", ("WRONG_RESULT_TYPE", "38000")),
        (
            "params of another type",
            "SELECT ML_PREDICT('wine', a, b, params => map('k', 'x')) FROM t",
            ("INVALID_OPTION", "38000"),
        ),
    ),
]

# In an application with `spark.sparkmodel.ddl.enabled=false`.
WITHOUT_DDL: list[WrongUse] = _of(
    "Where the application allows no model DDL",
    ("to create", f"CREATE MODEL x {_AT}", DDL),
    ("to register", "REGISTER MODEL 'models:/sql_wine/1' AS x", DDL),
    ("to alter", "ALTER MODEL line SCALE TO 2", DDL),
    ("to drop", "DROP MODEL line", DDL),
    ("a catalog of one's own", "SELECT own.sql_wine(a, b) FROM t", DDL),
)

# In one with `spark.sparkmodel.allowedLocations=models:,{home}`, and without allowInlineCode.
WITH_LOCATIONS: list[WrongUse] = _of(
    "Where the application names allowed locations, and takes no code",
    ("another place", "CREATE MODEL x LOCATION '/etc/model'", PLACE),
    ("a detour", "CREATE MODEL x LOCATION '{home}/../model'", PLACE),
    ("an import path", f"CREATE MODEL x {_PYTHON} 'tests.models:DoubleModel'", PLACE),
    ("to alter", "ALTER MODEL wine SET LOCATION '/etc/model'", PLACE),
    (
        "an option that brings code",
        "CREATE MODEL x LOCATION '{home}/line.pkl' OPTIONS (runtime_env.working_dir = 's3://bucket/other')",
        PLACE,
    ),
    ("to alter such an option", "ALTER MODEL wine SET OPTIONS (EXTRA_ENV.PYTHONPATH = '/tmp')", PLACE),
    ("code", "CREATE MODEL x RETURNS double USING python AS $$def predict(frame): return 1$$", INLINE),
)

# Errors of Spark's own, in Spark's own words.
OF_SPARK = ("PARSE_", "UNRESOLVED_", "UNSUPPORTED_DATATYPE", "INVALID_SQL_SYNTAX", "TABLE_OR_VIEW_NOT_FOUND")
