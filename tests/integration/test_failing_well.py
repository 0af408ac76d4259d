# SPDX-License-Identifier: Apache-2.0
"""What goes wrong reaches the person who typed the query, by its condition, and the pool lives on."""

from __future__ import annotations

import os
import pathlib
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from pyspark.errors import PythonException
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel import errors
from tests import models
from tests.integration.scripts import PATIENCE_S, wait_until

Register = Callable[..., sm.Model]


def query(spark: SparkSession, call: str, rows: int = 100, shift: int = 0) -> list[float]:
    frame = spark.range(shift, rows + shift, numPartitions=2).selectExpr(f"{call} AS p")
    return [row.p for row in frame.collect()]


@pytest.mark.fault("F9")
def test_model_raises(register: Register, spark: SparkSession) -> None:
    model = register("faulty", models.ErrorModel(), result_type="double", workers=2)
    with pytest.raises(PythonException) as raised:
        query(spark, "faulty(id)", shift=-3)
    text = str(raised.value)
    assert "[PREDICT_FAILED] Cannot score with 'faulty': the model raised ValueError: negative input -3." in text
    assert "in predict" in text
    assert 'raise ValueError(f"negative input' in text or "tests/models.py" in text
    with pytest.raises(errors.PredictError, match="negative input -1"):
        model.predict([{"x": -1}])
    assert sum(query(spark, "faulty(id)")) == sum(range(100))
    assert model.stats()["restarts"] == 0


@pytest.mark.fault("F10")
def test_wrong_number_of_rows(register: Register, spark: SparkSession) -> None:
    model = register("short", models.WrongLengthModel(), result_type="double")
    with pytest.raises(PythonException, match=r"\[WRONG_ROW_COUNT\] Cannot score with 'short': the model gave 49 rows"):
        query(spark, "short(id)")
    with pytest.raises(errors.WrongRowCountError):
        model.predict([{"x": 1.0}])


@pytest.mark.fault("F10")
def test_wrong_type(register: Register, spark: SparkSession) -> None:
    model = register("wordy", models.WrongTypeModel(), result_type="double")
    with pytest.raises(PythonException, match=r"\[WRONG_RESULT_TYPE\] Cannot score with 'wordy'"):
        query(spark, "wordy(id)")
    with pytest.raises(errors.WrongResultTypeError):
        model.predict([{"x": 1.0}])


@pytest.mark.fault("F5")
def test_predict_hangs(register: Register, spark: SparkSession) -> None:
    model = register("stuck", models.HangModel(), result_type="double", workers=2, timeout_s=2.0)
    good = threading.Thread(target=lambda: results.append(sum(query(spark, "stuck(id)", rows=1000))))
    results: list[float] = []
    good.start()
    with pytest.raises(errors.PredictTimeoutError, match="longer than timeout_s=2"):
        model.predict([{"x": -1.0}], timeout_s=30)
    good.join(PATIENCE_S)
    assert results == [sum(range(1000))]
    with pytest.raises(PythonException, match=r"\[PREDICT_TIMEOUT\] Cannot score with 'stuck'"):
        query(spark, "stuck(id)", rows=1, shift=-1)
    # a call that waits in Python is ended alone: no worker had to go
    assert len(model.stats()["workers"]) == 2
    assert sum(query(spark, "stuck(id)")) == sum(range(100))
    assert (model.stats()["restarts"], model.stats()["state"]) == (0, "ready")


def test_batch_that_kills_its_worker_fails_alone(register: Register, spark: SparkSession) -> None:
    model = register("deadly", models.CrashModel(), result_type="double", workers=2, max_retries=1)
    with pytest.raises(PythonException, match=r"\[POISON_BATCH\] .* 'deadly': 1 row of partition \d, batch 1 ended 2"):
        query(spark, "deadly(id)", rows=1, shift=-1)
    wait_until(lambda: model.stats()["restarts"] == 2 and model.stats()["state"] == "ready")
    assert sum(query(spark, "deadly(id)")) == sum(range(100))
    assert model.stats()["restarts"] == 2


@pytest.mark.fault("F1")
def test_worker_killed_in_the_middle_of_a_million_rows(
    register: Register, spark: SparkSession, tmp_path: pathlib.Path
) -> None:
    killed = tmp_path / "killed"
    model = register("steady", models.HalfwayModel(killed, batches=15), result_type="double", workers=2)
    rows = 1_000_000
    pids = [worker["pid"] for worker in model.stats()["workers"]]
    done: list[tuple[int, float]] = []

    def run() -> None:
        frame = spark.range(0, rows, numPartitions=8).selectExpr("steady(id) AS p")
        row = frame.selectExpr("count(p) AS n", "sum(p) AS s").first()
        assert row is not None
        done.append((row.n, row.s))

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: model.stats()["rows"] > rows / 10)
    os.kill(pids[0], signal.SIGKILL)
    assert model.stats()["rows"] < rows, "the kill came too late to prove anything"
    killed.touch()
    thread.join(PATIENCE_S)
    assert done == [(rows, float(rows * (rows - 1)))]
    wait_until(lambda: model.stats()["restarts"] == 1 and model.stats()["state"] == "ready")
    alive = [worker["pid"] for worker in model.stats()["workers"]]
    assert len(alive) == 2
    assert pids[0] not in alive
    assert pids[1] in alive


def test_unknown_option(spark: SparkSession) -> None:
    with pytest.raises(errors.InvalidOptionError, match=r"Cannot use option 'worker'.*did you mean 'workers'"):
        sm.register(spark, "never", models.DoubleModel(), result_type="double", worker=2)
    with pytest.raises(errors.InvalidOptionError, match="'workers': 0 is not a whole number of at least 1"):
        sm.register(spark, "never", models.DoubleModel(), result_type="double", workers=0)
    assert "never" not in sm.models()


def test_unknown_model(register: Register, spark: SparkSession, mlflow_store: object) -> None:
    register("known_model", models.DoubleModel(), result_type="double")
    with pytest.raises(errors.ModelNotFoundError, match=r"Cannot find model 'known_modle'.*did you mean 'known_model'"):
        sm.get("known_modle")
    with pytest.raises(errors.ModelNotFoundError, match=r"\[MODEL_NOT_FOUND\].*'models:/nobody/1'"):
        sm.register(spark, "never", "models:/nobody/1")
    with pytest.raises(errors.ModelNotFoundError, match="no such file or directory"):
        sm.register(spark, "never", "/no/such/model")


def test_name_taken(register: Register, spark: SparkSession) -> None:
    register("taken", models.FactorModel(2), result_type="double")
    with pytest.raises(errors.NameTakenError, match=r"\[NAME_TAKEN\] Cannot register model 'taken'"):
        sm.register(spark, "taken", models.FactorModel(3), result_type="double")
    with pytest.raises(errors.NameTakenError, match="'abs'"):
        sm.register(spark, "abs", models.FactorModel(3), result_type="double")
    assert query(spark, "taken(id)", rows=1, shift=5) == [10.0]
    replaced = sm.register(spark, "taken", models.FactorModel(3), result_type="float", num_cpus=0.5, replace=True)
    assert query(spark, "taken(id)", rows=1, shift=5) == [15.0]
    assert replaced.version == 2
    assert spark.sql("SELECT taken(1) AS p").schema["p"].dataType.simpleString() == "float"


@pytest.fixture(scope="module")
def gone(spark: SparkSession) -> Iterator[tuple[sm.Model, Future[None]]]:
    """A pool that was dropped, and a query with it that does not give it up for ten seconds."""
    model = sm.register(spark, "short_lived", models.DoubleModel(), result_type="double", num_cpus=0.5)
    column = model("id")
    assert [row.p for row in spark.range(2).select(column.alias("p")).collect()] == [0.0, 2.0]
    model.drop()

    def ask() -> None:
        spark.range(0, 2, 1, 1).select(column).collect()  # one task: the other core is for other tests

    with ThreadPoolExecutor(1) as threads:
        yield model, threads.submit(ask)


@pytest.mark.usefixtures("gone")  # both wait at the same time
def test_pool_that_cannot_be_placed(spark: SparkSession) -> None:
    def register(name: str, **options: float) -> None:
        sm.register(spark, name, models.DoubleModel(), result_type="double", **options)

    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(register, "painted", num_gpus=1)
        with pytest.raises(
            errors.PoolNotPlacedError,
            match=r"Cannot place 2 workers.*asked for CPU 1000 in total, there is CPU .* of 16",
        ):
            register("huge", workers=2, num_cpus=500)
        with pytest.raises(errors.PoolNotPlacedError, match=r"GPU 1 in total, there is .*GPU 0 free of 0"):
            other.result(PATIENCE_S)
    assert not {"huge", "painted"} & set(sm.models())


def test_pool_gone(spark: SparkSession, gone: tuple[sm.Model, Future[None]]) -> None:
    model, query = gone
    with pytest.raises(PythonException, match=r"\[POOL_GONE\] Cannot score with 'short_lived'"):
        query.result(PATIENCE_S)
    with pytest.raises(errors.PoolGoneError):
        model.stats()
    with pytest.raises(Exception, match="UNRESOLVED_ROUTINE"):
        spark.sql("SELECT short_lived(1)")


@pytest.mark.fault("F7")
def test_load_fails_with_the_models_own_traceback(spark: SparkSession) -> None:
    with pytest.raises(errors.ModelLoadError) as raised:
        sm.register(spark, "broken", models.BrokenModel(), result_type="double", workers=2, num_cpus=0.5)
    assert "Cannot load model 'broken'" in str(raised.value)
    assert "RuntimeError: weights are missing" in raised.value.fact
    assert "_raise_on_load" in raised.value.details
    assert pickle.loads(pickle.dumps(raised.value)).details == raised.value.details
    assert "broken" not in sm.models()
    assert not spark.catalog.functionExists("broken")


def test_pickle_needs_trust(register: Register, spark: SparkSession, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"not": "a model"}))
    with pytest.raises(errors.UntrustedModelFileError, match=r"runs whatever code.*trust_pickle=True.*skops, ONNX"):
        sm.register(spark, "never", str(path), result_type="double")
    with pytest.raises(errors.ModelLoadError, match="dict has no predict method"):
        sm.register(spark, "never", str(path), result_type="double", trust_pickle=True, num_cpus=0.5)


@pytest.mark.fault("F7")
def test_slow_load_is_bounded(spark: SparkSession, tmp_path: pathlib.Path) -> None:
    pair = models.LoadLog(tmp_path / "log", seconds=60).pair()
    with pytest.raises(errors.PoolNotReadyError, match="1 of 1 workers were not loaded within"):
        sm.register(spark, "slow", pair, result_type="double", num_cpus=0.5, ready_timeout_s=3)
    assert "slow" not in sm.models()


def test_no_signature_asks_for_a_result_type(spark: SparkSession) -> None:
    with pytest.raises(errors.ResultTypeError, match="result_type='double'"):
        sm.register(spark, "never", models.DoubleModel())
    with pytest.raises(errors.InvalidOptionError, match="'duoble' is not a Spark type"):
        sm.register(spark, "never", models.DoubleModel(), result_type="duoble")
