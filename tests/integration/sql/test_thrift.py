# SPDX-License-Identifier: Apache-2.0
"""Models over JDBC: a Thrift server without Python, and beeline."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterator

import mlflow
import pytest

from tests.integration.registered import log_line
from tests.integration.scripts import wait_until
from tests.integration.sql.shells import Beeline, Server, create, thrift_server

SWAPPED = """
    SELECT count(*), count_if(p = 2 * id), count_if(p = 3 * id)
    FROM (SELECT id, slow(CAST(id AS DOUBLE)) AS p FROM range(1, 300001, 1, 1))
"""


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory, mlflow_store: pathlib.Path) -> Iterator[Server]:
    """A server whose operator allows statements about models, from some places."""
    catalog = "spark.sql.catalog.mlflow"
    settings = {
        "spark.sparkmodel.ddl.enabled": "true",
        "spark.sparkmodel.allowedLocations": "python:factors, models:/",
        catalog: "io.sparkmodel.catalog.MlflowCatalog",
        f"{catalog}.tracking_uri": mlflow.get_tracking_uri(),
        f"{catalog}.registry_uri": mlflow.get_tracking_uri(),
        f"{catalog}.refresh": "1s",
        f"{catalog}.num_cpus": "0.1",
    }
    server = thrift_server(tmp_path_factory.mktemp("operated"), settings)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Server], Beeline]]:
    """Opens a JDBC session, whose client ends with the module."""
    made: list[Beeline] = []

    def start(server: Server) -> Beeline:
        made.append(Beeline(server, tmp_path_factory.mktemp("client")))
        return made[-1]

    yield start
    for client in made:
        client.kill()


@pytest.fixture(scope="module")
def sessions(operated: Server, connect: Callable[[Server], Beeline]) -> tuple[Beeline, Beeline]:
    """Two sessions of the server with an operator: a client of its own for each test would take most of its time."""
    return connect(operated), connect(operated)


def condition(client: Beeline, statement: str) -> tuple[str, str]:
    """Condition and SQLSTATE of a statement that fails."""
    said = client.failure(statement)
    found = re.match(r"Error: .*?\[([A-Z_]+)\] .*\(state=(\w+),code=0\)$", said, re.DOTALL)
    assert found, said
    return found[1], found[2]


@pytest.mark.slow
def test_by_default_models_are_not_made_over_jdbc(
    tmp_path_factory: pytest.TempPathFactory, connect: Callable[[Server], Beeline]
) -> None:
    server = thrift_server(tmp_path_factory.mktemp("default"))
    try:
        analyst = connect(server)
        refused = ("DDL_NOT_ALLOWED", "42501")
        assert condition(analyst, create("times", "Two")) == refused
        assert "Hint: ask its operator, who can start it with spark.sparkmodel.ddl.enabled=true." in analyst.error
        analyst.rows("SET spark.sparkmodel.ddl.enabled=true")
        for statement in (create("times", "Two"), "ALTER MODEL times REFRESH", "DROP MODEL times FORCE"):
            assert condition(analyst, statement) == refused
        assert condition(analyst, "REGISTER MODEL '/m' AS times") == refused
        assert analyst.rows("SHOW MODELS") == []
        assert server.control() == []
    finally:
        server.stop()


@pytest.mark.slow
def test_sessions_share_a_model_that_is_swapped_under_a_query_and_dropped_by_force(
    sessions: tuple[Beeline, Beeline],
) -> None:
    operator, analyst = sessions
    operator.rows(create("slow", "SlowTwo"))
    operator.rows("ALTER MODEL slow SCALE TO 1")
    assert analyst.rows("SELECT slow(2)") == [["4.0"]]
    end = analyst.begin(SWAPPED)
    wait_until(lambda: int(operator.rows("SHOW MODELS")[0][4]) > 1)
    operator.rows("ALTER MODEL slow SET LOCATION 'factors:SlowThree'")
    ((rows, old, new),) = analyst.finish(end)
    assert analyst.error == ""
    assert (int(old), int(new)) == (int(rows), 0)  # the query began with the old one
    assert int(rows) == 300000
    assert analyst.rows("SELECT slow(2)") == [["6.0"]]

    assert condition(operator, "DROP MODEL slow") == ("MODEL_IN_USE", "55006")
    assert "1 other session has called it within ten minutes. Hint: write DROP MODEL slow FORCE." in operator.error
    operator.rows("DROP MODEL slow FORCE")
    assert condition(analyst, "SELECT slow(2)") == ("UNRESOLVED_ROUTINE", "42883")


@pytest.mark.slow
def test_a_create_that_is_cancelled_leaves_no_pool(operated: Server, sessions: tuple[Beeline, Beeline]) -> None:
    impatient, other = sessions
    end = impatient.begin(create("patient", "Endless"))
    wait_until(lambda: (operated.cwd / "loading").exists())
    impatient.interrupt()
    wait_until(lambda: other.rows("SHOW MODELS LIKE 'patient'") == [])
    assert impatient.finish(end) == []
    assert "ancel" in impatient.error
    other.rows(create("patient", "Two"))
    assert impatient.rows("SELECT patient(2)") == [["4.0"]]
    other.rows("DROP MODEL patient FORCE")


@pytest.mark.slow
def test_models_come_from_allowed_places_only_and_errors_have_their_sqlstate(
    sessions: tuple[Beeline, Beeline],
) -> None:
    client, _ = sessions
    client.rows("SET spark.sparkmodel.allowedLocations=/")
    refused = ("LOCATION_NOT_ALLOWED", "42501")
    assert condition(client, "CREATE MODEL evil USING python LOCATION 'os:system' RETURNS INT") == refused
    assert condition(client, "CREATE MODEL evil USING python LOCATION 'factors2:Two' RETURNS INT") == refused
    assert condition(client, "CREATE MODEL evil LOCATION '/etc/model'") == refused
    client.rows(create("times", "Two"))
    assert condition(client, "ALTER MODEL times SET LOCATION 'os:system'") == refused
    assert condition(client, create("times", "Three")) == ("NAME_TAKEN", "42710")
    assert condition(client, "ALTER MODEL times SET OPTIONS (wrkers = 1)") == ("INVALID_OPTION", "22023")
    assert condition(client, "SELECT times(1, 2)") == ("SCHEMA_MISMATCH", "42804")
    assert condition(client, "SELECT ML_PREDICT('tmes', 1)") == ("MODEL_NOT_FOUND", "42704")
    assert condition(client, "CREATE MODEL evil USING python AS $$ x = 1 $$") == ("INLINE_CODE_NOT_ALLOWED", "42501")
    assert condition(client, "CREATE MODEL LOCATION '/m'")[0] == "PARSE_SYNTAX_ERROR"
    client.rows(create("raiser", "Raiser"))
    assert "[PREDICT_FAILED] Cannot score with 'raiser'" in client.failure("SELECT raiser(1)")
    client.rows("DROP MODEL times", "DROP MODEL raiser")


@pytest.mark.slow
def test_the_catalog_needs_no_statement_and_follows_its_aliases(sessions: tuple[Beeline, Beeline]) -> None:
    log_line("jdbc_line", 2)
    log_line("jdbc_line", 3)
    registry = mlflow.MlflowClient()
    registry.set_registered_model_alias("jdbc_line", "champion", "1")
    one, other = sessions
    query = "SELECT round(mlflow.jdbc_line.champion(x), 3) AS y FROM VALUES (1D), (2D) AS t(x) ORDER BY y"
    assert one.rows(query) == [["2.0"], ["4.0"]]
    assert other.rows(query) == [["2.0"], ["4.0"]]
    ((name, version, state, *_),) = other.rows("SHOW MODELS LIKE 'mlflow*'")
    assert (version, state) == ("1", "ready")
    assert "jdbc_line_champion" in name
    assert ["mlflow.jdbc_line"] in one.rows("SHOW FUNCTIONS IN mlflow")
    assert "champion -> v1" in str(one.rows("DESCRIBE FUNCTION mlflow.jdbc_line"))
    registry.set_registered_model_alias("jdbc_line", "champion", "2")
    wait_until(lambda: one.rows(query) == [["3.0"], ["6.0"]])
    assert other.rows(query) == [["3.0"], ["6.0"]]
    assert other.rows("SELECT round(mlflow.jdbc_line.v1(2D), 3)") == [["4.0"]]
    assert condition(other, "SELECT mlflow.jdbc_line.v9(2D)")[0] == "MODEL_NOT_FOUND"
    assert condition(other, "SELECT mlflow.jdbc_lne(2D)")[0] == "MODEL_NOT_FOUND"
