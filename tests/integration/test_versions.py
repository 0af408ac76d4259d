# SPDX-License-Identifier: Apache-2.0
"""Versions of a model as its users have them: new ones under old plans, canaries, history, sizes; on Ray and Spark."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

import sparkmodel as sm
from sparkmodel.errors import (
    InputsChangedError,
    InvalidOptionError,
    NoPreviousVersionError,
    ResultTypeChangedError,
    VersionRetiredError,
)
from sparkmodel.remote import RemoteModel
from tests.integration.registered import of_code
from tests.integration.scripts import PATIENCE_S, wait_until
from tests.models import FactorModel, HalfwayModel

Register = Callable[..., sm.Model]
Make = Callable[..., str]
ROWS = [{"a": 2.0, "b": 1.0}]  # 1002 where a weighs 1 and b 1000


@pytest.fixture
def weighted(tmp_path: pathlib.Path) -> Make:
    """Saves a model of columns that are weighed by their places; returns where it is."""

    def make(weights: Mapping[str, float], output: Any = 1.0) -> str:
        path = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        inputs = pd.DataFrame({name: [1.0, 2.0] for name in weights})
        model = of_code("weighted.py", infer_signature(inputs, np.array([output])), weights=list(weights.values()))
        mlflow.pyfunc.save_model(path, **model)
        return str(path)

    return make


def told(model: sm.Model) -> dict[int, dict[str, Any]]:
    """The versions of a model by their numbers."""
    return {entry["version"]: entry for entry in model.versions()}


def workers_of(model: sm.Model) -> dict[int, int]:
    """Process numbers of the workers, with the version that each has."""
    return {worker["pid"]: worker["version"] for worker in model.stats()["workers"]}


def rows_of(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([(2.0, 1.0)], "a double, b double")


@contextlib.contextmanager
def without_bridge(spark: SparkSession) -> Iterator[None]:
    """Queries go through Spark's Python workers meanwhile."""
    spark.conf.set("spark.sparkmodel.bridge.enabled", "false")
    try:
        yield
    finally:
        spark.conf.unset("spark.sparkmodel.bridge.enabled")


def answers(plans: Mapping[str, DataFrame]) -> dict[str, Any]:
    return {name: plan.first()[0] for name, plan in plans.items()}  # type: ignore[index]


def plans_of(model: sm.Model, spark: SparkSession) -> dict[str, DataFrame]:
    """Every way to call the model `ordered`, analysed now."""
    frame = rows_of(spark)
    frame.createOrReplaceTempView("two")
    return {
        "transform": model.transform(frame).select("prediction"),
        "columns": frame.select(model("a", "b")),
        "struct": spark.sql("SELECT ordered(struct(*)) FROM two"),
        "positions": spark.sql("SELECT ordered(a + 0, b + 0) FROM two"),
    }


def test_a_version_with_its_columns_in_another_order_is_right_under_plans_of_before(
    register: Register, spark: SparkSession, weighted: Make
) -> None:
    model = register("ordered", weighted({"a": 1.0, "b": 1000.0}))
    by_bridge = plans_of(model, spark)
    by_bridge["names"] = spark.sql("SELECT ML_PREDICT('ordered', b => b, a => a) FROM two")
    with without_bridge(spark):
        by_python = plans_of(model, spark)
    for order in ({"b": 1000.0, "a": 1.0}, {"a": 1.0, "b": 1000.0}):
        model.update(weighted(order))
        assert answers(by_bridge) == dict.fromkeys(by_bridge, 1002.0)
        with without_bridge(spark):
            assert answers(by_python) == dict.fromkeys(by_python, 1002.0), "on the Python path"
        assert model.predict(ROWS) == [1002.0]
    assert model.version == 3


def test_inputs_that_plans_get_wrong_are_refused_with_what_differs(
    register: Register, spark: SparkSession, weighted: Make
) -> None:
    model = register("firm", weighted({"a": 1.0, "b": 1000.0}))
    other = weighted({"a": 1.0, "c": 1000.0})
    with pytest.raises(InputsChangedError) as caught:
        model.update(other)
    assert "input 'b' is gone" in caught.value.fact
    assert "input 'c' is new and required" in caught.value.fact
    assert "allow_new_inputs=True" in caught.value.hint
    with pytest.raises(AnalysisException, match=r"\[INPUTS_CHANGED\].*'b' is gone.*allow_new_inputs = true"):
        spark.sql(f"ALTER MODEL firm SET LOCATION '{other}'")
    with pytest.raises(InvalidOptionError, match="Cannot use option 'allow_new_inputs': a canary"):
        model.update(other, traffic=0.5, allow_new_inputs=True)
    with pytest.raises(ResultTypeChangedError, match="RESULT_TYPE_CHANGED"):
        model.update(weighted({"a": 1.0, "b": 1000.0}, output=1))
    assert model.version == 1
    assert [entry["version"] for entry in model.versions()] == [1]


def test_allowed_new_inputs_are_for_new_plans_and_old_ones_stay_right(
    register: Register, spark: SparkSession, weighted: Make
) -> None:
    model = register("opened", weighted({"a": 1.0, "b": 1000.0}))
    frame = spark.createDataFrame([(2.0, 1.0, 7.0)], "a double, b double, c double")
    frame.createOrReplaceTempView("three")
    before = spark.sql("SELECT opened(a, b) AS p FROM three")
    handle = model.handle
    other = weighted({"c": 1.0, "a": 100.0}, output=1)
    spark.sql(f"ALTER MODEL opened SET LOCATION '{other}' OPTIONS (allow_new_inputs = TRUE)")
    assert [str(column) for column in model.signature.inputs or ()] == ["c double", "a double"]
    assert model.version == 2
    assert spark.sql("SELECT opened(c, a) AS p FROM three").schema["p"].dataType.simpleString() == "bigint"
    assert spark.sql("SELECT opened(c, a) AS p FROM three").first().p == 207
    assert model.predict([{"c": 7.0, "a": 2.0}]) == [207]
    assert before.first().p == 1002.0, "a plan that was there stays with a version that suits it"
    assert RemoteModel(handle, 1, model.signature, handle.contract.result_type).predict(ROWS) == [1002.0]
    assert before.first().p == 1002.0
    model.update(weighted({"a": 100.0, "c": 1.0}, output=1))
    assert (model.predict([{"c": 7.0, "a": 2.0}]), before.first().p) == ([207], 1002.0)


def test_a_canary_gets_its_share_of_the_queries_and_each_query_one_version(
    register: Register, spark: SparkSession
) -> None:
    model = register("tried", FactorModel(2.0), result_type="double", workers=2, num_cpus=0.1)
    model.update(FactorModel(3.0), traffic=0.5)
    assert (model.version, model.describe()["canary"]) == (1, {"version": 2, "traffic": 0.5})
    assert "canary 2 with 0.5 of the queries" in repr(model)
    seen: collections.Counter[float] = collections.Counter()
    for _ in range(40):
        values = spark.range(1, 5, numPartitions=4).selectExpr("tried(id) / id AS f").collect()
        assert len({row.f for row in values}) == 1, "a query is of one version"
        seen[values[0].f] += 1
    assert set(seen) == {2.0, 3.0}
    assert seen[3.0] < 40
    shown = {row.version: row for row in spark.sql("SHOW MODEL VERSIONS tried").collect()}
    assert {number: row.state for number, row in shown.items()} == {1: "serving", 2: "canary"}
    assert {number: row.weight for number, row in shown.items()} == {1: 0.5, 2: 0.5}
    assert (shown[1].rows, shown[2].rows) == (4 * seen[2.0], 4 * seen[3.0])
    assert shown[2].errors == 0
    described = {row[0]: row[1] for row in spark.sql("DESCRIBE MODEL EXTENDED tried").collect()}
    assert described["Canary"].startswith("version 2: canary, 50.0% of the queries")
    assert described["Version 1"].startswith("serving, 50.0% of the queries")
    spark.sql("ALTER MODEL tried PROMOTE")
    assert (model.version, model.describe()["canary"]) == (2, None)
    assert {spark.range(1, 2).selectExpr("tried(id) AS p").first().p for _ in range(5)} == {3.0}
    assert {number: entry["state"] for number, entry in told(model).items()} == {1: "old", 2: "serving"}


def test_a_canary_that_fails_too_often_is_rolled_back_by_itself(register: Register) -> None:
    model = register("watched", FactorModel(2.0), result_type="double", num_cpus=0.1)

    def broken(frame: Any) -> Any:
        raise ValueError("a bad version")

    model.update((lambda: None, lambda _, frame: broken(frame)), traffic=0.9, max_error_rate=0.1)

    def is_over() -> bool:
        with contextlib.suppress(sm.SparkModelError):  # of the canary
            model.predict([{"x": 1.0}])
        return told(model)[2]["state"] == "rolled back"

    wait_until(is_over)
    assert told(model)[2]["errors"] >= 20
    wait_until(lambda: set(workers_of(model).values()) == {1})  # callers learn it with an answer
    assert [model.predict([{"x": 1.0}]) for _ in range(20)] == [[2.0]] * 20


def test_a_version_of_before_comes_back_by_its_number_and_history_says_who_asked(
    register: Register, spark: SparkSession
) -> None:
    model = register("told", FactorModel(1.0), result_type="double", num_cpus=0.1)
    with pytest.raises(NoPreviousVersionError):
        model.rollback()
    for factor in (2.0, 3.0):
        model.update(FactorModel(factor))
    assert model.rollback(to=1).predict([{"x": 5.0}]) == [5.0]
    spark.sql("ALTER MODEL told ROLLBACK TO 3")
    assert model.predict([{"x": 5.0}]) == [15.0]
    assert (model.version, model.rollback().version) == (3, 1)
    with pytest.raises(VersionRetiredError, match=r"version 9 is not known.*known are \[1, 2, 3\]"):
        model.rollback(to=9)
    with pytest.raises(InvalidOptionError, match="traffic"):
        model.promote()
    with pytest.raises(AnalysisException, match=r"VERSION_RETIRED.*known are \[1, 2, 3\]"):
        spark.sql("ALTER MODEL told ROLLBACK TO 9")
    versions = model.versions()
    assert [entry["version"] for entry in versions] == [1, 2, 3]
    assert all(entry["by"] and entry["intent"] and entry["since"].endswith("+00:00") for entry in versions)
    assert len({entry["intent"] for entry in versions}) == 3
    assert [entry["until"] is None for entry in versions] == [True, False, False]
    assert told(model)[1]["rows"] >= 1
    assert [entry["source"] for entry in versions] == ["tests.models.FactorModel"] * 3


@pytest.mark.fault("F16")
def test_a_query_that_began_keeps_its_version_and_keep_old_ends_it(
    register: Register, spark: SparkSession, tmp_path: pathlib.Path
) -> None:
    go = tmp_path / "go"
    model = register("kept", HalfwayModel(go, 1), result_type="double", num_cpus=0.1)
    got: list[set[float]] = []

    def query() -> None:
        rows = spark.range(1, 30_001, numPartitions=1).selectExpr("kept(id) / id AS f").collect()
        got.append({row.f for row in rows})

    thread = threading.Thread(target=query)
    thread.start()
    wait_until(lambda: model.stats()["batches"] >= 1)
    model.update(FactorModel(3.0))
    assert model.predict([{"x": 1.0}]) == [3.0], "what begins now has the new version"
    assert set(workers_of(model).values()) == {1, 2}, "the old one has its query to end"
    go.touch()
    thread.join(PATIENCE_S)
    assert got == [{2.0}]
    wait_until(lambda: set(workers_of(model).values()) == {2})


def test_changes_of_several_clients_are_kept_side_by_side(register: Register, spark: SparkSession) -> None:
    model = register("shared_change", FactorModel(2.0), result_type="double", num_cpus=0.1)
    other = sm.get("shared_change", spark)
    spark.sql("ALTER MODEL shared_change SET OPTIONS (timeout_s = 7, max_retries = 1)")
    spark.sql("ALTER MODEL shared_change SCALE TO 2")
    assert other.version == model.version == 1, "limits and size are no new version"
    other.update(FactorModel(3.0))
    options = model.describe()["options"]
    assert (options["workers"], options["timeout_s"], options["max_retries"]) == (2, 7.0, 1)
    assert model.predict([{"x": 2.0}]) == [6.0]

    def alter(number: int) -> None:
        spark.sql(f"ALTER MODEL shared_change SET OPTIONS (extra_env.V{number} = '1')")

    threads = [threading.Thread(target=alter, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    model.scale(1)
    for thread in threads:
        thread.join(PATIENCE_S)
    options = model.describe()["options"]
    assert options["extra_env"] == {"V0": "1", "V1": "1", "V2": "1"}
    assert (options["workers"], options["timeout_s"]) == (1, 7.0)
    assert model.predict([{"x": 2.0}]) == [6.0]


def test_another_size_leaves_the_other_workers_alone(register: Register, spark: SparkSession) -> None:
    model = register("sized", FactorModel(2.0), result_type="double", workers=2, num_cpus=0.1)
    first = set(workers_of(model))
    assert set(workers_of(model.scale(3))) > first
    model.scale(2)
    wait_until(lambda: len(workers_of(model)) == 2)
    spark.sql("ALTER MODEL sized SCALE TO '1..2'")
    assert model.describe()["options"]["workers"] == (1, 2)
    assert "1..2 workers" in repr(model)
    assert model.version == 1
    assert model.stats()["restarts"] == 0
    with pytest.raises(InvalidOptionError, match=r"0 is not a whole number.*Hint: a least of 0"):
        model.scale(0)


def test_a_pool_without_workers_starts_one_for_a_call(register: Register, spark: SparkSession) -> None:
    model = register("cold", FactorModel(2.0), result_type="double", workers=(0, 1), idle_s=0.5, num_cpus=0.1)
    planned = spark.range(1, 11).selectExpr("sum(cold(id)) AS s")
    for call in (lambda: model.predict([{"x": 1.0}])[0] == 2.0, lambda: planned.first().s == 110.0):
        wait_until(lambda: model.stats()["workers"] == [])
        assert model.stats()["state"] == "cold"
        assert [row.workers for row in spark.sql("SHOW MODELS LIKE 'cold'").collect()] == [0]
        assert call()
    described = {row[0]: row[1] for row in spark.sql("DESCRIBE MODEL cold").collect()}
    assert described["Workers"] == "0..1"
