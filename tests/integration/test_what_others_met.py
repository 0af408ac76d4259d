# SPDX-License-Identifier: Apache-2.0
"""What users of other serving systems ran into when versions and sizes change; see the reports named at each test."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance.load import Load, local
from tests.endurance.oracle import made

ROW = pd.DataFrame({"a": [1], "b": [2]})


@pytest.fixture
def serve(spark: SparkSession) -> Iterator[Callable[..., sm.Model]]:
    """Registers models, and drops them at the end."""
    models: list[sm.Model] = []

    def register(name: str, source: Any, **options: Any) -> sm.Model:
        model = sm.register(spark, name, source, **{"num_cpus": 0.1, "progress": False, **options})
        models.append(model)
        return model

    yield register
    for model in models:
        model.drop()


def slow_to_load(seconds: float) -> Any:
    """A pair of functions: what loads takes its time."""

    def load(path: str) -> None:
        time.sleep(seconds)

    def predict(model: None, frame: pd.DataFrame) -> pd.Series:
        return 1000 * frame["a"] + frame["b"]

    return load, predict


def pids(model: sm.Model) -> set[int]:
    return {worker["pid"] for worker in model.stats()["workers"]}


@pytest.mark.fault("F7")
def test_an_update_that_fails_leaves_the_old_version_answering(
    serve: Callable[..., sm.Model], tmp_path: pathlib.Path
) -> None:
    """ray-project/ray pull 66252: a failed rolling update answered 503 though old replicas were healthy."""
    model, load = serve("stays", made(tmp_path, 0)), Load()
    load.start("local", local(model))
    load.wait_for(1)
    broken = pathlib.Path(made(tmp_path, 2)) / "python_model.pkl"
    broken.write_bytes(b"not a pickle")
    for _ in range(2):
        with pytest.raises(sm.SparkModelError, match="MODEL_LOAD_FAILED"):
            model.update(str(broken.parent))
        load.wait_for(1)
    assert load.stop() == []
    assert set(load.seen["local"].versions) == {0}


def test_workers_never_get_fewer_in_an_update(serve: Callable[..., sm.Model], tmp_path: pathlib.Path) -> None:
    """ray-project/ray issue 33192: while a version is replaced there were not enough replicas for the traffic."""
    model = serve("full", made(tmp_path, 0), workers=2)
    least, stopping = [2], threading.Event()

    def watch() -> None:
        while not stopping.is_set():
            least.append(len(model.stats()["workers"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    model.update(made(tmp_path, 1))
    stopping.set()
    watcher.join()
    assert min(least) == 2


def test_a_limit_is_changed_without_a_restart(
    spark: SparkSession, serve: Callable[..., sm.Model], tmp_path: pathlib.Path
) -> None:
    """ray-project/ray issue 15136: a light change of configuration reloaded every replica at once."""
    model = serve("light", made(tmp_path, 0), workers=2)
    before, loads, version = pids(model), model.stats()["loads"], model.stats()["version"]
    spark.sql("ALTER MODEL light SET OPTIONS (timeout_s = 7, max_retries = 5)")
    assert (pids(model), model.stats()["loads"], model.stats()["version"]) == (before, loads, version)
    assert model.describe()["options"]["timeout_s"] == 7
    assert model.handle.pool.directory.limits.timeout_s == 7


@pytest.mark.parametrize("load_s", [0.0, 2.0])
def test_a_call_while_the_pool_goes_to_zero_is_answered(
    serve: Callable[..., sm.Model], tmp_path: pathlib.Path, load_s: float
) -> None:
    """knative/serving issues 2078 and 2386, kserve/kserve issue 1247.

    Requests at the end of the grace period timed out; a model whose start took longer than the idle time never served.
    """
    (tmp_path / "weights").write_text("none")
    load, predict = slow_to_load(load_s)
    name = f"sleepy{int(load_s)}"
    model = serve(name, str(tmp_path), load=load, predict=predict, result_type="bigint", workers=(0, 1), idle_s=0.5)
    for pause_s in (0.0, 0.4, 0.5, 0.6, 1.0, 2.0):
        time.sleep(pause_s)
        assert list(model.predict(ROW)) == [1002]


def test_short_calls_between_two_looks_keep_a_pool_awake(
    serve: Callable[..., sm.Model], tmp_path: pathlib.Path
) -> None:
    """volcano-sh/kthena issue 1019: a call that ends between two looks at the load was never seen as demand."""
    (tmp_path / "weights").write_text("none")
    load, predict = slow_to_load(0.0)
    model = serve("awake", str(tmp_path), load=load, predict=predict, result_type="bigint", workers=(0, 1), idle_s=1.0)
    model.predict(ROW)
    first, until = pids(model), time.monotonic() + 4
    while time.monotonic() < until:
        model.predict(ROW)
        time.sleep(0.3)
    assert pids(model) == first


def test_a_canary_that_fails_is_taken_back(serve: Callable[..., sm.Model], tmp_path: pathlib.Path) -> None:
    """ray-project/ray issue 63016 asks for it: a bad version is rolled back by itself and said to be."""
    model = serve("careful", made(tmp_path, 0))

    def fails(frame: pd.DataFrame) -> pd.Series:
        raise ValueError("the new one is broken")

    model.update(fails, traffic=0.5, max_error_rate=0.2)
    outcomes = []
    for _ in range(200):
        try:
            outcomes.append(int(model.predict(ROW).iloc[0]))
        except sm.SparkModelError:
            outcomes.append(-1)
        if len(model.versions()) > 1 and "rolled back" in str(model.versions()):
            break
    assert -1 in outcomes, "the canary was never asked"
    told = {entry["version"]: entry for entry in model.versions()}
    assert told[1]["state"] == "serving"
    assert "rolled back" in told[2]["state"]
    assert told[2]["errors"] >= 1
    with contextlib.suppress(sm.SparkModelError):  # the answer, whoever gives it, tells where the pool is now
        model.predict(ROW)
    assert [int(model.predict(ROW).iloc[0]) for _ in range(20)] == [1002] * 20
