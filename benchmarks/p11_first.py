# SPDX-License-Identifier: Apache-2.0
"""P11: how long one more model takes to its first answer, in a warm session and from the start of a process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mlflow

import sparkmodel as sm
from benchmarks import fresh, workloads
from benchmarks.common import OURS, SPARK_UDF, Bench, Measure, Result, compare, on_path
from benchmarks.processes import child, rest
from benchmarks.workloads import Case

WARM, STRAIGHT, FRESH = "warm session", "warm session, straight after another", "fresh process"
GOAL_S, WARM_GOAL, FRESH_GOAL = 1.0, 1.5, 1.0
_WARM_UPS = 2


def run(bench: Bench) -> Result:
    """Measure `register` and MLflow's `spark_udf` to the first answer of a model that is new each time."""
    warm = _warm(bench)
    started, ended = _fresh(bench)
    lines = {name: Measure(name, runs, is_ours=name.startswith(OURS)) for name, runs in {**warm, **started}.items()}
    lines[f"{OURS}, {WARM}"].hold(GOAL_S)
    for where, goal in ((WARM, WARM_GOAL), (FRESH, FRESH_GOAL)):
        lines[f"{SPARK_UDF}, {where}"].judge(lines[f"{OURS}, {where}"].value, goal)
    return Result(
        "P11",
        "one more scikit-learn model to its first answer",
        list(lines.values()),
        {"seconds_to_the_end_of_fresh_processes": ended},
    )


def _warm(bench: Bench) -> dict[str, list[float]]:
    """Seconds in a session where each has served models before, one of which is there all the time."""
    contenders: dict[str, Callable[[Bench, str], Any]] = {
        f"{OURS}, {WARM}": _register,
        f"{OURS}, {STRAIGHT}": _register,
        f"{SPARK_UDF}, {WARM}": _make_udf,
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    warm_ups = min(_WARM_UPS, bench.warm_ups)
    on_path(OURS, bench.spark)
    first, *cases = workloads.small_models(1 + len(contenders) * (warm_ups + bench.runs))
    there = sm.register(bench.spark, "bench_first", first.uri, progress=False)
    compare(OURS, _ask(bench, "bench_first"), first.expected)
    for number in range(warm_ups + bench.runs):
        for name, make in contenders.items():
            if STRAIGHT not in name:
                rest(bench.rest_s)
            taken, drop = _time(bench, name, make, cases.pop())
            drop()
            if number >= warm_ups:
                seconds[name].append(taken)
    there.drop()
    return seconds


def _time(bench: Bench, name: str, make: Callable[[Bench, str], Any], case: Case) -> tuple[float, Any]:
    started = time.perf_counter()
    drop = make(bench, case.uri)
    answer = _ask(bench, "bench_more")
    taken = time.perf_counter() - started
    compare(name, answer, case.expected)
    return taken, drop


def _register(bench: Bench, uri: str) -> Any:
    return sm.register(bench.spark, "bench_more", uri, progress=False).drop


def _make_udf(bench: Bench, uri: str) -> Any:
    udf = mlflow.pyfunc.spark_udf(bench.spark, uri, result_type="double", env_manager="local")
    bench.spark.udf.register("bench_more", udf)
    return lambda: bench.spark.sql("DROP TEMPORARY FUNCTION bench_more")


def _ask(bench: Bench, name: str) -> float:
    return float(bench.spark.sql(workloads.one_row_query(name)).collect()[0][0])


def _fresh(bench: Bench) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of processes to the first answer, and to their end, while this one does nothing."""
    (case,) = workloads.small_models(1)
    contenders = {f"{OURS}, {FRESH}": "sparkmodel", f"{SPARK_UDF}, {FRESH}": "mlflow"}
    started: dict[str, list[float]] = {name: [] for name in contenders}
    ended: dict[str, list[float]] = {name: [] for name in contenders}
    warm_ups = min(1, bench.warm_ups)  # so that files are in the system's cache
    for number in range(warm_ups + bench.fresh_runs):
        for name, contender in contenders.items():
            rest(bench.rest_s)
            now = time.time()
            said = child("fresh", contender, repr(now), case.uri, workloads.one_row_query(fresh.NAME))
            compare(name, said["answer"], case.expected)
            if number >= warm_ups:
                started[name].append(said["seconds"])
                ended[name].append(time.time() - now)
    return started, ended
