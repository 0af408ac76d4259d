# SPDX-License-Identifier: Apache-2.0
"""The SQL shell: models without a Python driver, by a control process that the shell starts and ends.

A shell takes long to start: the first tests share one, which is closed, and the last has one that is killed.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.integration.scripts import wait_until
from tests.integration.sql.shells import SqlShell, create

VIEW = "CREATE TEMPORARY VIEW numbers AS SELECT CAST(id AS DOUBLE) AS x FROM range(1, 4)"
WRONG = {
    "CREATE MODEL times LOCATION '/nowhere'": "[NAME_TAKEN] Cannot register model 'times': ",
    "CREATE MODEL other LOCATION '/nowhere'": "[MODEL_NOT_FOUND] Cannot register model 'other' from '/nowhere': ",
    create("other", "Four"): "[MODEL_LOAD_FAILED] Cannot load model 'other' from 'python:factors:Four': ",
    "CREATE MODEL other USING python AS $$ def f(): pass $$": "[INLINE_CODE_NOT_ALLOWED] Cannot create model 'other': ",
    "ALTER MODEL times SET OPTIONS (wrkers = 2)": "[INVALID_OPTION] Cannot use option 'wrkers': there is no such",
    "ALTER MODEL times ROLLBACK": "[NO_PREVIOUS_VERSION] Cannot roll back model 'times': ",
    "ALTER MODEL other SCALE TO 2": "[MODEL_NOT_FOUND] Cannot alter model 'other': there is no such model. Hint: ",
    "DROP MODEL tmes": "[MODEL_NOT_FOUND] Cannot drop model 'tmes': there is no such model. Hint: did you mean 'times'",
    "DESCRIBE MODEL other": "[MODEL_NOT_FOUND] Cannot describe model 'other': there is no such model. Hint: ",
    "SHOW CREATE MODEL other": "[MODEL_NOT_FOUND] Cannot show model 'other': there is no such model. Hint: ",
    "SELECT times(x, x) FROM numbers": "[SCHEMA_MISMATCH] Cannot call model 'times': the model takes ",
    "SELECT ML_PREDICT('other', x) FROM numbers": "[MODEL_NOT_FOUND] Cannot call model 'other': there is no such model",
    "SELECT ML_PREDICT('times', x, timeout => 'soon') FROM numbers": "[INVALID_OPTION] Cannot use option 'timeout': ",
}


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlShell]:
    """A shell that leaves nothing when its input ends."""
    program = SqlShell(tmp_path_factory.mktemp("shell"))
    try:
        yield program
        assert program.close() == 0
        program.assert_nothing_left()
    finally:
        program.kill()


@pytest.mark.slow
def test_all_statements(sql: SqlShell) -> None:
    assert sql.rows("SHOW MODELS") == []
    assert "there are none yet" in sql.failure("DROP MODEL times")
    assert sql.rows("DROP MODEL IF EXISTS times") == []
    assert sql.control() == [], "a Python was started to find nothing"
    sql.rows(create("times", "Two"), VIEW)
    assert len(sql.control()) == 1
    assert sql.rows("SELECT x, times(x) FROM numbers") == [["1.0", "2.0"], ["2.0", "4.0"], ["3.0", "6.0"]]
    assert sql.rows("SELECT * FROM ML_PREDICT(TABLE numbers, MODEL times, DESCRIPTOR(x)) WHERE x > 2") == [
        ["3.0", "6.0"]
    ]
    assert sql.rows("SHOW MODELS") == [["times", "1", "ready", "1", "4", "python:factors:Two", "", ""]]
    described = dict(row[:2] for row in sql.rows("DESCRIBE MODEL EXTENDED times"))
    assert (described["Name"], described["Input x"], described["Rows"]) == ("times", "double", "4")

    for statement, start in WRONG.items():
        said = sql.failure(statement)
        assert said.startswith(start), said
        assert "\n" not in said, said

    sql.rows("ALTER MODEL times SET LOCATION 'factors:Three'")
    assert sql.rows("SELECT times(x) FROM numbers") == [["3.0"], ["6.0"], ["9.0"]]
    sql.rows("ALTER MODEL times ROLLBACK")
    assert sql.rows("SELECT times(x) FROM numbers") == [["2.0"], ["4.0"], ["6.0"]]
    written = " ".join(row[0] for row in sql.rows("SHOW CREATE MODEL times"))
    sql.rows("DROP MODEL times", written)
    assert sql.rows("SELECT times(2)") == [["4.0"]]
    sql.rows(create("times", "Three", "OR REPLACE"))
    assert sql.rows("SELECT times(2)") == [["6.0"]]
    assert "[UNRESOLVED_ROUTINE]" in sql.failure("SELECT other(2)"), "Spark's own"
    assert "[PARSE_SYNTAX_ERROR] Syntax error at or near 'MODEL'" in sql.failure("DROP MODEL MODEL MODEL")
    sql.rows(create("raiser", "Raiser"))
    assert "[PREDICT_FAILED] Cannot score with 'raiser'" in sql.failure("SELECT raiser(1)")
    described = dict(row[:2] for row in sql.rows("DESCRIBE MODEL EXTENDED raiser") if len(row) > 1)
    assert "no such wine" in described["Last error"]
    assert sql.rows("DROP MODEL times", "DROP MODEL raiser", "SHOW MODELS") == []
    assert "[UNRESOLVED_ROUTINE]" in sql.failure("SELECT times(2)")


@pytest.mark.slow
def test_an_interrupt_ends_a_create_that_hangs_and_nothing_else(sql: SqlShell) -> None:
    end = sql.begin(create("patient", "Endless"))
    wait_until(lambda: (sql.cwd / "loading").exists())
    sql.interrupt()
    assert sql.finish(end) == []
    assert "[OPERATION_CANCELED] Cannot finish this statement: it was interrupted. Hint: run it again." in sql.error
    assert "\tat " not in sql.error
    sql.rows(create("patient", "Two"))
    assert sql.rows("SELECT patient(2)") == [["4.0"]]


@pytest.mark.slow
def test_a_wrong_interpreter_is_an_error_and_models_outlive_control_processes_and_end_with_a_shell_that_is_killed(
    shell: Callable[..., SqlShell], tmp_path: pathlib.Path
) -> None:
    python = tmp_path / "python"
    wrong = {
        "there is no such file": None,
        "without what is installed, and without PYTHONPATH": f'exec {sys.executable} -E -S "$@"',
    }
    sql = shell(spark__sparkmodel__python=str(python))
    for what, line in wrong.items():
        if line is not None:
            python.write_text(f"#!/bin/sh\n{line}\n")
            python.chmod(0o755)
        said = sql.failure(create("times", "Two"))
        assert said.startswith(f"[CONTROL_UNAVAILABLE] Cannot start the control process with '{python}': "), (
            what,
            said,
        )
        assert said.endswith("Hint: name a Python that has sparkmodel in spark.sparkmodel.python."), (what, said)
        assert "\n" not in said, (what, said)
        assert sql.rows("SELECT 1") == [["1"]], f"{what}: all else goes on"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')

    sql.rows(
        create("times", "Two"), create("own", "Two", "TEMPORARY"), "ALTER MODEL times SET LOCATION 'factors:Three'"
    )
    assert sql.rows("SELECT times(1), own(1)") == [["3.0", "2.0"]]
    (control,) = sql.control()
    control.kill()
    assert sql.rows("SELECT times(1), own(1)") == [["3.0", "2.0"]]
    (again,) = sql.control()
    assert again.pid != control.pid
    again.kill()
    assert [row[:3] for row in sql.rows("SHOW MODELS")] == [["own", "1", "ready"], ["times", "1", "ready"]]
    assert sql.rows("SELECT own(1)") == [["2.0"]]
    sql.rows("DROP MODEL own")
    assert "[UNRESOLVED_ROUTINE]" in sql.failure("SELECT own(1)")
    sql.process.kill()
    sql.assert_nothing_left()
