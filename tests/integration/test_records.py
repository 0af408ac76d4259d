# SPDX-License-Identifier: Apache-2.0
"""The record of calls in a real PostgreSQL and a real Kafka, which die in between, and read back by Spark."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pyarrow as pa
import pytest

from sparkmodel import targets
from sparkmodel.records import BatchRecorder, Event, Recorder, opener
from sparkmodel.records.postgres import PostgresSink, partition_of
from sparkmodel.records.views import VIEWS
from sparkmodel.scoring.observed import Observed
from tests.integration.scripts import PATIENCE_S, Script
from tools import services

HOUR = 1_792_800_000 - 1_792_800_000 % 3600
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def postgres() -> Iterator[services.Service]:
    with services.postgres() as service:
        yield service


@pytest.fixture
def uri(postgres: services.Service) -> str:
    """Of an empty database."""
    with psycopg.connect(postgres.uri, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS calls WITH (FORCE)")
        connection.execute("CREATE DATABASE calls")
    return postgres.uri.replace("/postgres", "/calls")


def event(at: float = HOUR, **fields: object) -> Event:
    known = {"at": at, "model": "wine", "version": 1, "source": "rest", "call_s": 0.3, "predict_s": 0.2}
    return Event(**{**known, **fields})  # type: ignore[arg-type]


def rows(uri: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(uri) as connection:
        return connection.execute(query).fetchall()


def await_that(what: object, holds: object) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < until, what
        time.sleep(0.05)


def test_predictions_go_on_while_postgresql_is_killed_and_nothing_is_lost_that_is_not_counted(
    postgres: services.Service, uri: str
) -> None:
    record = BatchRecorder(("127.0.0.1", 1))
    record.configure(uri, 1.0)
    batch = pa.record_batch({"x": [1.0, float("nan")], "text": ["a\0b", None]})

    def answer(number: int) -> None:
        record(
            Observed(at=HOUR + number, model="wine", version=1, source="sql", batch=batch, result=batch, queue_s=0.1)
        )

    for number in range(100):
        answer(number)
    assert record._recorder is not None
    record._recorder._wake.set()
    await_that("the first ones", lambda: record.counts().written == 100)
    postgres.kill()
    for number in range(100, 200):
        answer(number)
    record._recorder._wake.set()
    await_that("an attempt that failed", lambda: record._recorder._reason)
    assert record.counts().written == 100
    postgres.start()
    await_that("the rest", lambda: record.counts().written == 200)
    record.close()
    assert record.counts().dropped == 0
    assert rows(uri, "SELECT count(*), count(DISTINCT time), sum(rows) FROM sparkmodel_calls") == [(200, 200, 400)]
    assert rows(uri, "SELECT inputs -> 'data', outputs ->> 'columns' FROM sparkmodel_calls LIMIT 1") == [
        ([[1.0, "ab"], [None, None]], '["x", "text"]')
    ]


def test_a_record_that_is_down_to_the_end_counts_what_it_drops(postgres: services.Service) -> None:
    recorder = Recorder(opener(targets.parse(f"postgresql://recorder@127.0.0.1:{services.free_port()}/calls")))
    for number in range(50):
        recorder.put(event(HOUR + number))
    recorder.close(5.0)
    assert recorder.counts().dropped == recorder.counts().observed == 50


def test_two_writers_make_the_same_table_and_hours_at_once(uri: str) -> None:
    def write(number: int) -> None:
        sink = PostgresSink(uri)
        for hour in range(4):
            sink.write([event(HOUR + 3600 * hour + number)])
        sink.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert rows(uri, "SELECT count(*) FROM sparkmodel_calls") == [(24,)]


def test_an_event_at_the_border_is_in_the_hour_that_begins_whatever_the_time_zone(uri: str) -> None:
    sink = PostgresSink(uri)
    sink._connection.execute("SET timezone = 'Asia/Kolkata'")  # half an hour beside UTC
    sink.write([event(HOUR), event(HOUR - 1e-6)])
    sink.close()
    hour = HOUR // 3600
    assert rows(uri, f"SELECT count(*) FROM {partition_of(hour)}") == [(1,)]
    assert rows(uri, f"SELECT count(*) FROM {partition_of(hour - 1)}") == [(1,)]


def test_age_drops_hours_of_ours_and_nothing_else(uri: str) -> None:
    sink = PostgresSink(uri)
    sink.write([event(HOUR), event(HOUR - 3600), event(HOUR - 7200)])
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE sparkmodel_calls_2001010100 (mine int)")
        connection.execute(
            "CREATE TABLE sparkmodel_calls_archive PARTITION OF sparkmodel_calls"
            " FOR VALUES FROM ('2001-01-01') TO ('2001-02-01')"
        )
    hour = HOUR // 3600
    assert sink.drop_before(HOUR) == [partition_of(hour - 2), partition_of(hour - 1)]
    sink.write([event(HOUR - 3600)])  # one that comes late has its hour again
    sink.close()
    assert rows(uri, "SELECT count(*) FROM sparkmodel_calls") == [(2,)]
    assert rows(uri, "SELECT count(*) FROM sparkmodel_calls_2001010100") == [(0,)]
    assert rows(uri, "SELECT to_regclass('sparkmodel_calls_archive') IS NOT NULL") == [(True,)]


def test_the_views_answer_in_postgresql_and_in_spark_alike(uri: str, tmp_path: pathlib.Path) -> None:
    events = [event(HOUR + n, call_s=n / 1000, predict_s=n / 2000, caller=None) for n in range(1000)]
    events.append(event(HOUR + 5, outcome="PREDICT_ERROR", predict_s=None))
    events.append(event(HOUR, source="record", outcome="DROPPED", rows=7))
    for target in (uri, f"parquet:{tmp_path}/calls"):
        recorder = Recorder(opener(targets.parse(target)))
        for one in events:
            recorder.put(one)
        recorder.close(60.0)
        assert recorder.counts().written == len(events), recorder._reason
    program = f"""
        from pyspark.sql import SparkSession
        from sparkmodel.records import views

        spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config(
            "spark.sql.session.timeZone", "UTC").getOrCreate()
        views.create(spark, "{tmp_path}/calls")
        print(spark.table(views.CALLS).selectExpr("string(day)", "int(hour)").distinct().collect()[0][:])
        for name in views.VIEWS:
            for row in sorted(spark.table(name).collect()):
                print(name, *(f"{{x:.9f}}" if isinstance(x, float) else x for x in row))
    """
    said = Script(program, tmp_path).finish().splitlines()
    expected = []
    for name in VIEWS:
        for row in sorted(rows(f"{uri}?options=-c%20timezone%3DUTC", f"SELECT * FROM {name}")):
            shown = (f"{x:.9f}" if isinstance(x, float) else str(x).removesuffix("+00:00") for x in row)
            expected.append(" ".join([name, *shown]))
    assert said[0] == str((time.strftime("%Y-%m-%d", time.gmtime(HOUR)), time.gmtime(HOUR).tm_hour))
    assert said[1:] == expected
    assert any("_quantiles" in line and "0.998001000" in line for line in said)  # p999 of 0 to 0.999
    assert any("_drops" in line and line.endswith("7") for line in said)


def test_kafka_keeps_events_and_structured_streaming_reads_them(tmp_path: pathlib.Path) -> None:
    with services.kafka() as kafka:
        recorder = Recorder(opener(targets.check(f"{kafka.uri}/calls")), flush_s=0.1)
        for number in range(500):
            recorder.put(event(HOUR + number + 0.000001, model=f"m{number % 3}", inputs=pa.table({"x": [number]})))
        recorder.close(60.0)
        assert recorder.counts().written == 500, recorder._reason
        jars = ",".join(str(path) for path in services.KAFKA_JARS.glob("*.jar") if is_for_spark(path))
        program = f"""
            from pyspark.sql import SparkSession, functions as F
            from sparkmodel.records import views

            spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
                .config("spark.sql.session.timeZone", "UTC").config("spark.jars", "{jars}").getOrCreate())
            spark.sparkContext.setLogLevel("OFF")
            stream = (spark.readStream.format("kafka").option("kafka.bootstrap.servers", "127.0.0.1:{kafka.port}")
                .option("subscribe", "calls").option("startingOffsets", "earliest").load())
            read = F.from_json(F.col("value").cast("string"), views.DDL)
            calls = stream.select(F.col("key").cast("string"), read.alias("c"))
            query = (calls.select("key", "c.*").writeStream.format("parquet").option("path", "{tmp_path}/out")
                .option("checkpointLocation", "{tmp_path}/checkpoint").trigger(availableNow=True).start())
            query.awaitTermination()
            out = spark.read.parquet("{tmp_path}/out")
            print(out.count(), out.where("key = model").count(), out.selectExpr("string(min(time))").first()[0])
            print(out.where("time is null or call_s <> 0.3 or get_json_object(inputs, '$.data[0][0]') is null").count())
        """
        assert Script(program, tmp_path).finish().split("\n")[:2] == [
            f"500 500 {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(HOUR))}.000001",
            "0",
        ]
        kafka.kill()
        lost = Recorder(opener(targets.parse(f"{kafka.uri}/calls?message.timeout.ms=1000")), flush_s=0.1)
        lost.put(event())
        lost.close(30.0)
        assert lost.counts().dropped == 1
        assert lost._reason.startswith("Kafka: ")


def is_for_spark(path: pathlib.Path) -> bool:
    return path.name.startswith(("spark-", "kafka-clients", "commons-pool2"))
