# SPDX-License-Identifier: Apache-2.0
"""Statements and calls from Spark Connect, on a server that was started with the jar and has no Python driver."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.integration.scripts import Script, free_port
from tests.integration.sql.shells import Server, create

PROGRAM = """
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.remote("sc://127.0.0.1:{port}").create()
    other = SparkSession.builder.remote("sc://127.0.0.1:{port}").create()

    def failure(session, statement):
        try:
            session.sql(statement).collect()
        except PySparkException as error:
            return error.getCondition(), error.getSqlState(), str(error)
        raise AssertionError(f"no error: {{statement}}")

    def values(session, query):
        return [tuple(row) for row in session.sql(query).collect()]

    assert values(spark, "SHOW MODELS") == []
    assert values(spark, '''{two}''') == []
    numbers = "SELECT CAST(id AS DOUBLE) AS x FROM range(1, 3)"
    for session in (spark, other):
        assert values(session, f"SELECT times(x) FROM ({{numbers}})") == [(2.0,), (4.0,)]
    assert [row.name for row in spark.sql("SHOW MODELS").collect()] == ["times"]
    frame = other.sql(numbers).selectExpr("times(x) AS y")
    assert frame.schema.simpleString() == "struct<y:double>"
    spark.sql("ALTER MODEL times SET LOCATION 'factors:Three'")
    assert [row.y for row in frame.collect()] == [3.0, 6.0]
    assert other.sql("DESCRIBE MODEL times").collect()[0] == ("Name", "times")

    spark.sql(numbers).createOrReplaceTempView("numbers")
    query = "SELECT * FROM ML_PREDICT(TABLE numbers, MODEL times, DESCRIPTOR(x))"
    assert values(spark, query) == [(1.0, 3.0), (2.0, 6.0)]

    condition, state, text = failure(spark, "DROP MODEL times")
    assert (condition, state) == ("MODEL_IN_USE", "55006"), (condition, state, text)
    assert "Hint: write DROP MODEL times FORCE" in text
    condition, state, text = failure(spark, "SELECT times(x, x) FROM numbers")
    assert (condition, state) == ("SCHEMA_MISMATCH", "42804"), (condition, state, text)
    condition, state, text = failure(other, "CREATE MODEL more LOCATION '/nowhere'")
    assert (condition, state) == ("MODEL_NOT_FOUND", "42704"), (condition, state, text)
    assert text.startswith("[MODEL_NOT_FOUND] Cannot register model 'more' from '/nowhere': ")
    assert "\\tat " not in text
    condition, state, text = failure(other, "CREATE MODEL LOCATION '/m'")
    assert condition == "PARSE_SYNTAX_ERROR", (condition, state, text)
    spark.sql('''{raiser}''')
    condition, state, text = failure(spark, "SELECT raiser(x) FROM numbers")
    assert "[PREDICT_FAILED] Cannot score with 'raiser'" in text, text
    spark.sql("DROP MODEL times FORCE")
    assert failure(other, "SELECT times(1)")[0] == "UNRESOLVED_ROUTINE"
    other.stop()
    spark.stop()
    print("passed")
"""


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    port = free_port()
    settings = {
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.sql.connect.serverStacktrace.enabled": "false",  # else Spark shows one with each error, its own too
    }
    main = "org.apache.spark.sql.connect.service.SparkConnectServer"
    started = Server(tmp_path, main, port, [], settings, "Spark Connect server started")
    yield started
    started.stop()


@pytest.mark.slow
def test_statements_and_calls_from_connect(server: Server, tmp_path: pathlib.Path) -> None:
    program = PROGRAM.format(port=server.port, two=create("times", "Two"), raiser=create("raiser", "Raiser"))
    out = Script(program, tmp_path, {"SPARK_CONNECT_MODE_ENABLED": None}).finish()
    assert out == "passed\n"
    assert len(server.control()) == 1
