# SPDX-License-Identifier: Apache-2.0
"""The pool under real Ray: loads, concurrency, new versions under load, streams."""

from __future__ import annotations

import gc
import pathlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel import errors
from tests import models
from tests.integration.scripts import PATIENCE_S, wait_until

Register = Callable[..., sm.Model]


@pytest.mark.slow
def test_loaded_once_per_worker_over_queries_and_micro_batches(
    register: Register, spark: SparkSession, tmp_path: pathlib.Path
) -> None:
    log = models.LoadLog(tmp_path / "loads", seconds=1.0)
    model = register("counted", log.pair(), result_type="double", workers=2)
    for _ in range(2):
        frame = spark.range(0, 1600, numPartitions=16).selectExpr("counted(id) AS p")
        assert sum(row.p for row in frame.collect()) == 1600 * 1599
    source = tmp_path / "in"
    for i in range(20):
        spark.range(i * 10, i * 10 + 10).coalesce(1).write.mode("append").parquet(str(source))
    seen: list[int] = []
    stream = (
        spark.readStream.schema("id long")
        .option("maxFilesPerTrigger", 1)
        .parquet(str(source))
        .selectExpr("counted(id) AS p")
        .writeStream.trigger(availableNow=True)
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .foreachBatch(lambda frame, number: seen.append(int(sum(row.p for row in frame.collect()))))
        .start()
    )
    assert stream.awaitTermination(int(PATIENCE_S))
    assert len(seen) == 20
    assert sum(seen) == 200 * 199
    assert log.count == 2
    assert model.stats()["loads"] == 2


@pytest.mark.fault("F25")
def test_64_threads_each_get_their_own_answers(register: Register) -> None:
    model = register("shared", models.DoubleModel(), result_type="double", workers=2)

    def call(thread: int) -> list[tuple[float, list[float]]]:
        return [
            (float(thread * 1000 + i), model.predict([{"x": float(thread * 1000 + i)}], timeout_s=PATIENCE_S))
            for i in range(16)
        ]

    with ThreadPoolExecutor(max_workers=64) as threads:
        answers = [pair for pairs in threads.map(call, range(64)) for pair in pairs]
    assert len(answers) == 1024
    assert all(answer == [2 * asked] for asked, answer in answers)
    workers = model.stats()["workers"]
    assert model.stats()["rows"] == 1024
    assert all(worker["rows"] > 100 for worker in workers)


@pytest.mark.slow
def test_update_under_load_and_rollback(register: Register, spark: SparkSession) -> None:
    model = register("moving", models.FactorModel(2), result_type="double", workers=2)
    stop = threading.Event()
    seen: list[float] = []
    failures: list[BaseException] = []

    def call() -> None:
        while not stop.is_set():
            try:
                seen.append(model.predict([{"x": 1.0}])[0])
            except BaseException as error:
                failures.append(error)
                return

    def scan() -> None:
        while not stop.is_set():
            rows = spark.range(0, 100_000, numPartitions=4).selectExpr("moving(id) / id AS p").where("id > 0")
            seen.extend({row.p for row in rows.distinct().collect()})

    threads = [threading.Thread(target=target) for target in (call, call, call, scan)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(seen) >= 5 or bool(failures))
        assert model.update(models.FactorModel(3)).version == 2
        mark = len(seen)
        wait_until(lambda: 3.0 in seen or bool(failures))
        with pytest.raises(errors.ModelLoadError, match="weights are missing"):
            model.update(models.BrokenModel())
        assert model.version == 2
        assert model.rollback().version == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert failures == []
    assert set(seen) == {2.0, 3.0}
    assert set(seen[:5]) == {2.0}
    assert mark > 0
    assert model.predict([{"x": 1.0}]) == [2.0]
    assert model.rollback().predict([{"x": 1.0}]) == [3.0]
    stats = model.stats()
    assert stats["errors"] == 0
    # those of the version before stay while a query may be held to it
    assert len([worker for worker in stats["workers"] if worker["version"] == stats["version"]]) == 2


def test_rollback_needs_a_version_before(register: Register) -> None:
    model = register("lonely", models.DoubleModel(), result_type="double")
    with pytest.raises(errors.NoPreviousVersionError, match=r"version 1 is the first"):
        model.rollback()


def test_model_calls_are_serialised_unless_asked(register: Register) -> None:
    def overlap(concurrency: int) -> int:
        def load() -> dict[str, int]:
            return {"now": 0, "most": 0}

        def predict(state: dict[str, int], data: object) -> list[float]:
            import time

            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
            end = time.monotonic() + 30
            while state["most"] < concurrency and time.monotonic() < end:  # as many as may come do come
                time.sleep(0.01)
            time.sleep(0.1)  # and one more would
            state["now"] -= 1
            return [float(state["most"])]

        model = register(f"overlap{concurrency}", (load, predict), result_type="double", max_concurrency=concurrency)
        with ThreadPoolExecutor(max_workers=8) as threads:
            return int(max(answer[0] for answer in threads.map(lambda _: model.predict([{"x": 1.0}]), range(8))))

    assert overlap(1) == 1
    assert overlap(4) == 4


@pytest.mark.fault("F25")
def test_backpressure_slows_and_does_not_fail(register: Register, spark: SparkSession) -> None:
    model = register("narrow", models.SlowModel(0.05), result_type="double", max_queued=1)
    with ThreadPoolExecutor(max_workers=16) as threads:
        answers = list(threads.map(lambda i: model.predict([{"x": float(i)}], timeout_s=PATIENCE_S), range(32)))
    assert answers == [[float(i)] for i in range(32)]
    with pytest.raises((errors.PoolBusyError, errors.DeadlineExceededError)), ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda i: model.predict([{"x": float(i)}], timeout_s=0.1), range(32)))


def test_pool_lives_though_its_model_object_is_dropped(register: Register, spark: SparkSession) -> None:
    sm.register(spark, "unheld", models.DoubleModel(), result_type="double", num_cpus=0.5)
    gc.collect()
    pid = sm.get("unheld").stats()["workers"][0]["pid"]
    sm.register(spark, "unheld", models.FactorModel(3), result_type="double", num_cpus=0.5, replace=True)
    gc.collect()
    assert spark.sql("SELECT unheld(2) AS p").collect()[0].p == 6.0
    assert sm.get("unheld").stats()["workers"][0]["pid"] != pid
    sm.unregister(spark, "unheld")


def test_workers_are_forks_unless_they_need_another_process(register: Register) -> None:
    def taken(model: sm.Model) -> int:
        return sum(int(node["taken"]) for node in model.describe()["spares"].values())

    forked = register("forked", models.DoubleModel(), result_type="double", workers=2)
    before = taken(forked)
    for name, options in {
        "with_variables": {"extra_env": {"A": "1"}},
        "with_threads": {"num_cpus": 2},
        "with_environment": {"runtime_env": {"env_vars": {"A": "1"}}},
    }.items():
        model = register(name, models.DoubleModel(), result_type="double", **options)
        assert model.predict([{"x": 1.0}]) == [2.0]
    assert taken(forked) == before
    forked.update(models.FactorModel(3))
    assert taken(forked) == before + 2
    (spares,) = forked.describe()["spares"].values()
    assert spares["wanted"] == 1
    assert 0 < spares["memory_bytes"] < 2**30


def test_pools_are_listed_and_attached_to(register: Register, spark: SparkSession) -> None:
    register("listed", models.DoubleModel(), result_type="double", workers=2)
    assert "listed" in sm.models()
    again = sm.get("listed", spark.newSession())
    assert "version 1" in repr(again)
    assert again.predict([{"x": 4.0}]) == [8.0]
    assert again.stats()["loads"] == 2
    assert "token" not in repr(again.describe())


def test_streams_append_and_update_from_files_and_rate(
    register: Register, spark: SparkSession, tmp_path: pathlib.Path
) -> None:
    register("streamed", models.DoubleModel(), result_type="double", workers=2)
    source = str(tmp_path / "in")
    spark.range(0, 1000, numPartitions=5).write.parquet(source)
    files = spark.readStream.schema("id long").option("maxFilesPerTrigger", 2).parquet(source)

    def run(frame: object, mode: str, name: str) -> None:
        query = (
            frame.writeStream.format("memory")  # type: ignore[attr-defined]
            .queryName(name)
            .outputMode(mode)
            .option("checkpointLocation", str(tmp_path / name))
            .trigger(availableNow=True)
            .start()
        )
        assert query.awaitTermination(int(PATIENCE_S))

    run(files.selectExpr("id", "streamed(id) AS p"), "append", "appended")
    assert spark.table("appended").where("p = 2 * id").count() == 1000
    run(files.groupBy((files.id % 2).alias("odd")).agg({"id": "max"}).selectExpr(
        "odd", "streamed(`max(id)`) AS p"), "update", "updated")  # fmt: skip
    assert {(row.odd, row.p) for row in spark.table("updated").collect()} >= {(0, 1996.0), (1, 1998.0)}

    rate = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 100).load()
    query = rate.selectExpr("value", "streamed(value) AS p").writeStream.format("memory").queryName("rated").start()
    try:
        wait_until(lambda: spark.table("rated").count() >= 200)
    finally:
        query.stop()
    assert spark.table("rated").where("p <> 2 * value OR p IS NULL").count() == 0
