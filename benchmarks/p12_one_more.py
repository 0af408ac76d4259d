# SPDX-License-Identifier: Apache-2.0
"""P12: the memory of one more model, when there are some already."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import mlflow
import ray

import sparkmodel as sm
from benchmarks import workloads
from benchmarks.common import OURS, SPARK_UDF, Bench, Measure, Result, compare, on_path, ray_itself
from benchmarks.processes import Memory, family, memory, rest
from benchmarks.workloads import Case

ACTOR = "Ray actor with mlflow.pyfunc"
GOAL_MB = 100.0


class Actor:
    """What people write by hand: an actor that holds a model."""

    def __init__(self, uri: str, tracking_uri: str) -> None:
        mlflow.set_tracking_uri(tracking_uri)
        self._model = mlflow.pyfunc.load_model(uri)

    def predict(self, frame: Any) -> Any:
        """The model's prediction."""
        return self._model.predict(frame)


def run(bench: Bench) -> Result:
    """Measure what all processes together have more after one more model with one worker has answered."""
    with ray_itself(bench):
        return _run(bench)


def _run(bench: Bench) -> Result:
    on_path(OURS, bench.spark)
    contenders: dict[str, Callable[[Bench, str, Case], tuple[float, Any]]] = {
        OURS: _register,
        ACTOR: _start_actor,
        SPARK_UDF: _make_udf,
    }
    more: dict[str, list[Memory]] = {name: [] for name in contenders}
    rounds = 1 + bench.runs
    cases = workloads.small_models(rounds * len(contenders))
    ends = []
    before = _memory(bench)
    for number in range(rounds):
        for name, add in contenders.items():
            case = cases.pop()
            answer, end = add(bench, f"bench_{number}", case)
            compare(name, answer, case.expected)
            ends.append(end)
            after = _memory(bench)
            if number:  # the first of each pays for what the others then share
                more[name].append(after - before)
            before = after
    for end in ends:
        end()
    uss = {name: Measure(f"{name}, USS", [m.uss for m in more[name]], "MB") for name in (OURS, ACTOR)}
    pss = {name: Measure(f"{name}, PSS", [m.pss for m in more[name]], "MB") for name in (OURS, ACTOR)}
    uss[OURS].is_ours = pss[OURS].is_ours = True
    uss[OURS].hold(GOAL_MB)
    for lines in (uss, pss):
        lines[ACTOR].judge(lines[OURS].value)
    return Result(
        "P12",
        "memory of one more scikit-learn model with one worker",
        [*uss.values(), *pss.values()],
        # it keeps no model between queries, so that this is the noise
        {"mlflow_spark_udf_uss_mb": [m.uss for m in more[SPARK_UDF]]},
    )


def _memory(bench: Bench) -> Memory:
    """Of the whole family, at rest and with little garbage: a spare process counts as well as the worker."""
    gc.collect()
    bench.spark._jvm.System.gc()
    rest(bench.rest_s)
    return memory(family())


def _register(bench: Bench, name: str, case: Case) -> tuple[float, Any]:
    # It reserves no CPU, as a copy in one of Spark's Python workers does not either: there are more models than cores.
    model = sm.register(bench.spark, name, case.uri, workers=1, num_cpus=0, progress=False)
    return _ask(bench, name), model.drop


def _start_actor(bench: Bench, name: str, case: Case) -> tuple[float, Any]:
    actor = ray.remote(num_cpus=0)(Actor).remote(case.uri, mlflow.get_tracking_uri())
    return ray.get(actor.predict.remote(workloads.one_row()))[0], lambda: ray.kill(actor)


def _make_udf(bench: Bench, name: str, case: Case) -> tuple[float, Any]:
    name = f"{name}_udf"
    udf = mlflow.pyfunc.spark_udf(bench.spark, case.uri, result_type="double", env_manager="local")
    bench.spark.udf.register(name, udf)
    return _ask(bench, name), lambda: bench.spark.sql(f"DROP TEMPORARY FUNCTION {name}")


def _ask(bench: Bench, name: str) -> float:
    return float(bench.spark.sql(workloads.one_row_query(name)).collect()[0][0])
