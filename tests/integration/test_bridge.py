# SPDX-License-Identifier: Apache-2.0
"""The bridge's operator: many rows, many partitions, early ends, memory, what Spark shows of it."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

import sparkmodel as sm
from tests.integration.scripts import PATIENCE_S, wait_until

BRIDGE = "spark.sparkmodel.bridge.enabled"
Register = Callable[..., sm.Model]

# three chunks of 16,384 for each task, and more than one batch of the reader in each
ROWS = 66_000
COLUMNS = {
    "id": "id",
    "double": "CASE WHEN id % 7 <> 0 THEN id / 8 END",
    "few": "CAST(id % 5 AS DOUBLE)",  # Parquet keeps it behind a dictionary
    "int": "CASE WHEN id % 11 <> 0 THEN CAST(id % 100 AS INT) END",
    "text": "CASE WHEN id % 13 <> 0 THEN concat('t', id % 50) END",
    "list": "CASE WHEN id % 17 <> 0 THEN transform(sequence(1, id % 4), x -> x * id / 2) END",
    "ints": "array(CAST(id % 3 AS INT), NULL, 7)",
    "nested": "named_struct('a', id, 'b', array(CAST(id % 9 AS STRING)))",
    "map": "map('k', id % 6)",
    "decimal": "CAST(id / 3 AS DECIMAL(20, 5))",
    "time": "timestamp_micros(id * 1000003)",
    "day": "date_add(DATE'2000-01-01', CAST(id % 9999 AS INT))",
    "none": "CAST(NULL AS DOUBLE)",
    "flag": "id % 2 = 0",
}
NESTED = ("list", "ints", "nested", "map")


def allocated(spark: SparkSession) -> int:
    """Arrow memory of the JVM that somebody holds."""
    return int(spark.sparkContext._jvm.org.apache.spark.sql.util.ArrowUtils.rootAllocator().getAllocatedMemory())


@pytest.fixture(scope="module")
def told(spark: SparkSession) -> Iterator[sm.Model]:
    """A model that tells what it was given, as one text."""

    def tell(batch: pa.RecordBatch) -> pa.Array:
        return pa.array([str(list(row.values())) for row in batch.to_pylist()], pa.string())

    model = sm.register(spark, "told", tell, result_type="string", batch_format="pyarrow", workers=2, num_cpus=0.1)
    yield model
    model.drop()


@pytest.fixture(scope="module", params=["parquet", "orc", "cached", "rows"])
def table(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    made = spark.range(0, ROWS, 1, 2).selectExpr(*[f"{code} AS {name}" for name, code in COLUMNS.items()])
    if request.param in ("parquet", "orc"):
        home = str(tmp_path_factory.mktemp("many") / "t")
        made.write.format(request.param).save(home)
        made = spark.read.format(request.param).load(home)
    elif request.param == "cached":
        made = made.cache()
    made.createOrReplaceTempView("many")
    yield str(request.param)
    made.unpersist()


@pytest.fixture(scope="module")
def on_python_path() -> dict[str, list[Any]]:
    """Of each query what it gives on the Python path: the rows of all tables are equal, so one table's will do."""
    return {}


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT id, told({', '.join(COLUMNS)}) AS p FROM many",
        "SELECT *, told(list, text) AS p FROM many",
        "SELECT id, text, list, CASE WHEN id % 10 > 6 THEN told(double, list, text, map) END AS p FROM many",
        "SELECT id, told(few + 1, int, get(list, 0), nested.b) AS p, told(none) AS q FROM many WHERE id % 3 <> 0",
        "SELECT id, told(struct(text, few, day)) AS p FROM many WHERE told(flag) = '[True]'",
    ],
)
def test_many_rows_are_the_same_on_both_paths(
    spark: SparkSession, told: sm.Model, table: str, query: str, on_python_path: dict[str, list[Any]]
) -> None:
    def summary(by_bridge: bool) -> list[Any]:
        spark.conf.set(BRIDGE, str(by_bridge).lower())
        frame = spark.sql(query)
        # what NULL adds to a hash is nothing, wherever it is
        hashed = [
            text
            for name in frame.columns
            for text in ([f"to_json(struct({name}))"] if name in NESTED else [name, f"isnull({name})"])
        ]
        return frame.selectExpr("count(*)", f"bit_xor(xxhash64({', '.join(hashed)}))", "max(p)", "count(p)").collect()

    try:
        if query not in on_python_path:
            on_python_path[query] = summary(False)
        assert summary(True) == on_python_path[query]
    finally:
        spark.conf.unset(BRIDGE)
    assert allocated(spark) == 0


def scores(plan: Any) -> list[Any]:
    """The operators of ours in a plan."""
    found = [plan] if plan.nodeName().startswith("ModelScore") else []
    return found + [one for i in range(plan.children().size()) for one in scores(plan.children().apply(i))]


def test_the_operator_shows_its_model_its_path_and_its_numbers(spark: SparkSession, register: Register) -> None:
    register("shown", lambda frame: frame.iloc[:, 0] * 2.0, result_type="double")
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    try:
        frame = spark.range(0, 50_000, 1, 2).selectExpr("shown(id) AS p")
        frame._jdf.queryExecution().executedPlan().executeCollect()
        (operator,) = scores(frame._jdf.queryExecution().executedPlan())
    finally:
        spark.conf.unset("spark.sql.adaptive.enabled")
    assert operator.nodeName() == "ModelScore shown v1"
    assert "path: executor JVM, rows" in operator.toString()
    assert "Models: shown v1" in frame._jdf.queryExecution().explainString(
        spark.sparkContext._jvm.org.apache.spark.sql.execution.ExplainMode.fromString("formatted")
    )
    metrics = operator.metrics()
    value = {metrics.keys().toSeq().apply(i): 0 for i in range(metrics.size())}
    value = {name: metrics.apply(name).value() for name in value}
    assert value["rowsScored"] == value["numOutputRows"] == 50_000
    assert value["batches"] == 4
    assert value["bytesSent"] > 50_000 * 8
    assert value["bytesReceived"] > 50_000 * 8
    assert value["retries"] == 0
    assert min(value[name] for name in ("waitTime", "predictTime", "sendTime")) > 0


def test_a_limit_and_a_failure_release_everything(spark: SparkSession, register: Register) -> None:
    def fail_late(frame: pd.DataFrame) -> pd.Series:
        if (frame.iloc[:, 0] > 90_000).any():
            raise ValueError("too late")
        return frame.iloc[:, 0] * 2.0

    model = register("late", fail_late, result_type="double")
    spark.range(0, 100_000, 1, 1).createOrReplaceTempView("numbers")
    assert [row.p for row in spark.sql("SELECT late(id) AS p FROM numbers WHERE late(id) > 1 LIMIT 3").collect()] == [
        2,
        4,
        6,
    ]
    assert allocated(spark) == 0
    with pytest.raises(PySparkException, match=r"\[PREDICT_FAILED\].*\n[^$]*too late"):
        spark.sql("SELECT sum(late(id)) FROM numbers").collect()
    assert allocated(spark) == 0
    wait_until(lambda: model.stats()["queued"] == 0)


@pytest.mark.fault("F14")
def test_a_cancelled_query_frees_its_sockets_and_its_place_in_the_queue(
    spark: SparkSession, register: Register
) -> None:
    def slow(frame: pd.DataFrame) -> pd.Series:
        time.sleep(0.3)
        return frame.iloc[:, 0] * 1.0

    model = register("slow", slow, result_type="double")
    failed: list[BaseException] = []

    def run() -> None:
        try:
            spark.sql("SELECT sum(slow(id)) FROM range(0, 10000000, 1, 4)").collect()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: model.stats()["batches"] > 2)
    spark.sparkContext.cancelAllJobs()  # which interrupts no thread
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert failed
    assert "cancel" in str(failed[0]).lower()
    wait_until(lambda: model.stats()["queued"] == 0 and allocated(spark) == 0)
    before = model.stats()["batches"]
    time.sleep(1)
    assert model.stats()["batches"] <= before + 1, "the worker goes on with what nobody waits for"


@pytest.mark.fault("F22")
def test_two_thousand_partitions_take_few_connections(spark: SparkSession, register: Register) -> None:
    model = register("parts", lambda frame: frame.iloc[:, 0] * 1.0, result_type="double", workers=2)
    ports = {port for _, port in model.handle.pool.directory.endpoints}
    jvm = psutil.Process(int(spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()))
    most = 0
    done: list[float] = []
    query = threading.Thread(
        target=lambda: done.append(spark.sql("SELECT sum(parts(id)) FROM range(0, 20000, 1, 2000)").first()[0])
    )
    query.start()
    while query.is_alive():
        here = [
            c for c in jvm.net_connections("tcp") if c.raddr and c.raddr.port in ports and c.status == "ESTABLISHED"
        ]
        most = max(most, len(here))
        time.sleep(0.2)  # to look takes as much of the machine as the query does
    assert done == [19999 * 10000.0]
    assert 0 < most <= 4  # two tasks, with two batches each on the way


@pytest.mark.fault("F19")
def test_rows_too_large_to_be_many_are_sent_in_small_batches(
    spark: SparkSession, register: Register, tmp_path: pathlib.Path
) -> None:
    model = register("bytes_in", lambda frame: frame.iloc[:, 0].map(len), result_type="bigint")
    rows = spark.range(0, 100, 1, 1).selectExpr(
        "id", "CAST(repeat(CAST(id % 10 AS STRING), 1000000) AS BINARY) AS image"
    )
    rows.write.parquet(str(tmp_path / "images"))
    for frame in (rows, spark.read.parquet(str(tmp_path / "images"))):
        before = model.stats()["batches"]
        assert {row[0] for row in frame.selectExpr("bytes_in(image) AS n").collect()} == {1_000_000}
        assert 12 <= model.stats()["batches"] - before <= 40
    assert allocated(spark) == 0


@pytest.mark.fault("F19")
def test_rows_that_become_large_do_not_make_a_batch_too_large(
    spark: SparkSession, register: Register, tmp_path: pathlib.Path
) -> None:
    model = register(
        "jumps", lambda batch: pa.array([batch.nbytes] * len(batch)), result_type="bigint", batch_format="pyarrow"
    )
    rows = spark.range(0, 165, 1, 1).selectExpr("id", "CAST(repeat('x', if(id < 100, 0, 1000000)) AS BINARY) AS image")
    rows.write.parquet(str(tmp_path / "images"))
    images = spark.read.parquet(str(tmp_path / "images"))
    assert images.rdd.getNumPartitions() == 1
    for frame in (rows, images, images.where("rand() < 2")):
        found = frame.selectExpr("length(image) AS l", "jumps(image) AS n").agg({"n": "max", "l": "count"}).first()
        assert found is not None
        assert found[0] < 50 << 20
    arrays = spark.range(0, 120, 1, 1).selectExpr("id", "array_repeat(1D, if(id < 100, 1, 500000)) AS a")
    arrays.write.parquet(str(tmp_path / "arrays"))
    for frame in (arrays, spark.read.parquet(str(tmp_path / "arrays"))):
        found = frame.selectExpr("id", "jumps(a) AS n").agg({"n": "max", "id": "count"}).first()
        assert found is not None
        assert found[0] <= 65 << 20  # cut into messages, if it was found out late
    assert model.stats()["rows"] == 3 * 165 + 2 * 120
    assert allocated(spark) == 0


def test_forty_models_of_the_same_columns_copy_them_once(
    spark: SparkSession, register: Register, tmp_path: pathlib.Path
) -> None:
    register("wide", lambda frame: frame.sum(axis=1), result_type="double")
    columns = [f"CAST(id + {i} AS DOUBLE) AS c{i}" for i in range(20)]
    spark.range(0, 40_000, 1, 2).selectExpr("id", *columns).write.parquet(str(tmp_path / "wide"))
    frame = spark.read.parquet(str(tmp_path / "wide"))
    names = [f"c{i}" for i in range(20)]
    calls = [f"wide({', '.join(names[i % 20 :] + names[: i % 20])}, {i}) AS p{i}" for i in range(40)]
    for source in (frame, frame.where("id >= 0")):
        scored = source.selectExpr("id", *calls)
        plan = scored._jdf.queryExecution().executedPlan().toString()
        assert plan.count("ModelScore") == 1
        sums = scored.selectExpr(*[f"sum(p{i} - 20D * id - 190 - {i}) AS s{i}" for i in range(40)]).first()
        assert sums is not None
        assert set(sums) == {0.0}
    assert allocated(spark) == 0


@pytest.mark.parametrize("setting", [True, False])
def test_the_file_of_a_row_is_told_beside_a_model(
    spark: SparkSession, register: Register, tmp_path: pathlib.Path, setting: bool
) -> None:
    register("same", lambda frame: frame.iloc[:, 0] * 1.0, result_type="double")
    files = spark.range(0, 40_000, 1, 8).selectExpr("id", "CAST(id AS DOUBLE) AS x")
    files.write.parquet(str(tmp_path / "files"))
    stored = spark.read.parquet(str(tmp_path / "files"))
    stored.createOrReplaceTempView("files")
    stored.selectExpr("id", "_metadata.file_path AS path").createOrReplaceTempView("paths")
    spark.conf.set(BRIDGE, str(setting).lower())
    last = "substring_index(", ", '/', -1)"  # the one says file:/, the other file:///
    told = "input_file_name() AS name, input_file_block_start() AS start, input_file_block_length() AS length"
    try:
        for query in (
            f"SELECT id, x, {told}, same(x) AS p FROM files",
            f"SELECT id, x, {told}, x AS p FROM files WHERE same(x) >= 0",
            f"SELECT id, x, {told}, 2 * same(x) - x AS p FROM files WHERE same(x) >= 0 AND id >= 0",
            f"SELECT id, x, {told}, p FROM (SELECT *, same(x) AS p FROM files)",
            "SELECT id, x, input_file_name() AS name, 0 AS start, 1 AS length, x AS p FROM files "
            "WHERE same(x) >= 0 AND input_file_name() LIKE '%parquet'",
        ):
            frame = spark.sql(f"SELECT * FROM ({query}) JOIN paths USING (id)")
            counts = [
                "count(*)",
                f"count_if({'name'.join(last)} = {'path'.join(last)})",
                "count_if(start = 0)",
                "count_if(p = x)",
            ]
            found = frame.selectExpr(*counts).first()
            assert found is not None
            assert list(found) == [40_000] * 4, query
        groups = spark.sql("SELECT input_file_name() AS n, sum(same(x)) FROM files GROUP BY 1").collect()
        assert len(groups) == spark.sql("SELECT DISTINCT path FROM paths").count()
    finally:
        spark.conf.unset(BRIDGE)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (400, ["transform(sequence(1, 20000), x -> x * CAST(id AS DOUBLE)) AS a"]),
        (64_000, [f"CAST(id + {i} AS DOUBLE) AS c{i}" for i in range(95)]),  # above 100, Spark reads row by row
    ],
    ids=["long arrays", "many columns"],
)
def test_columns_copied_by_block_are_cut_by_their_size_too(
    spark: SparkSession, register: Register, tmp_path: pathlib.Path, rows: int, columns: list[str]
) -> None:
    model = register(
        "width", lambda batch: pa.array([batch.nbytes] * len(batch)), result_type="bigint", batch_format="pyarrow"
    )
    spark.range(0, rows, 1, 1).selectExpr(*columns).write.parquet(str(tmp_path / "wide"))
    found = spark.read.parquet(str(tmp_path / "wide")).selectExpr("width(struct(*)) AS n").collect()
    assert len(found) == rows
    assert max(row.n for row in found) < 10 << 20
    assert 5 <= model.stats()["batches"] <= 40
    assert allocated(spark) == 0


@pytest.mark.fault("F1")
def test_a_worker_killed_under_a_columnar_query_costs_nothing(
    spark: SparkSession, register: Register, tmp_path: pathlib.Path
) -> None:
    def steady(frame: pd.DataFrame) -> Any:
        time.sleep(0.02)
        return frame.to_numpy() @ np.array([2.0])

    model = register("steady", steady, result_type="double", workers=2)
    spark.range(0, 1_000_000, 1, 4).selectExpr("CAST(id AS DOUBLE) AS x").write.parquet(str(tmp_path / "x"))
    frame: DataFrame = spark.read.parquet(str(tmp_path / "x"))
    done: list[Any] = []
    query = threading.Thread(
        target=lambda: done.append(frame.selectExpr("sum(steady(x)) AS s", "count(steady(x)) AS n").first())
    )
    query.start()
    wait_until(lambda: model.stats()["batches"] > 4)
    os.kill(model.stats()["workers"][0]["pid"], signal.SIGKILL)
    query.join(PATIENCE_S)
    assert done
    assert (done[0].s, done[0].n) == (999_999 * 1_000_000.0, 1_000_000)
    assert allocated(spark) == 0
