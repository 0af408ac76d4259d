# SPDX-License-Identifier: Apache-2.0
"""P7: one row, there and back: the wire and `model.predict` against a call of a Ray actor."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import ray

from benchmarks import workloads
from benchmarks.common import Array, Bench, Measure, Result, compare, ray_itself, registered
from benchmarks.echo import echo_client
from sparkmodel.keeper import pools
from sparkmodel.wire.client import client_of

GOAL = 0.1
CALLS = 2_000
_WARM_UP_CALLS = 100
_TIMEOUT_S = 60.0
WIRE, PREDICT = "sparkmodel, wire", "sparkmodel, model.predict"
RAY_BATCH, RAY_FRAME = "Ray actor, Arrow batch", "Ray actor, DataFrame"

Calls = dict[str, Callable[[], Any]]
Runs = dict[str, list[Array]]  # milliseconds of each call, one array for each run


class Actor:
    """What people write by hand: an actor that holds a model."""

    def __init__(self, uri: str | None, tracking_uri: str) -> None:
        mlflow.set_tracking_uri(tracking_uri)
        self._model = None if uri is None else mlflow.pyfunc.load_model(uri)

    def first(self, data: Any) -> Any:
        """The no-op: the first column of a frame or of a batch."""
        return data.column(0) if isinstance(data, pa.RecordBatch) else _first_column(data)

    def predict(self, frame: pd.DataFrame) -> Any:
        """The model's prediction."""
        assert self._model is not None
        return self._model.predict(frame)


def _first_column(frame: pd.DataFrame) -> Any:
    return frame.to_numpy()[:, 0]


def run(bench: Bench) -> Result:
    """Measure the transport alone, a model that does nothing, and the linear model."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    work = workloads.linear(bench)
    row = {name: float(i) for i, name in enumerate(workloads.COLUMNS, start=1)}
    frame = pd.DataFrame([row])
    truth = mlflow.pyfunc.load_model(work.uri).predict(frame)
    with ray_itself(bench):
        transport = _transport(bench, row)
        noop = _noop(bench, row, frame)
        linear = _linear(bench, work.uri, row, frame, truth)
    return Result(
        "P7",
        f"one row of 11 doubles, {bench.runs} runs of {_calls(bench)} calls",
        [
            *_measures("transport", transport, RAY_BATCH),
            *_measures("no-op model", noop, RAY_FRAME),
            *_measures("linear model", linear),
        ],
        {"calls": _calls(bench) * bench.runs},
    )


def _calls(bench: Bench) -> int:
    """Calls in one run; all runs together make `CALLS`."""
    return bench.scaled(CALLS, at_least=50) // bench.runs


def _actor(uri: str | None) -> Any:
    return ray.remote(num_cpus=0)(Actor).remote(uri, mlflow.get_tracking_uri())


def _transport(bench: Bench, row: dict[str, float]) -> Runs:
    batch = pa.RecordBatch.from_pylist([row])
    actor = _actor(None)
    with echo_client() as (client, handle):
        calls: Calls = {
            WIRE: lambda: next(client.predict([batch], True, caller=handle, timeout_s=_TIMEOUT_S)).to_numpy(),
            RAY_BATCH: lambda: ray.get(actor.first.remote(batch)).to_numpy(),
        }
        return _latencies(bench, calls, next(iter(row.values())), actor)


def _ours(name: str, model: Any, row: dict[str, float]) -> Calls:
    handle = pools.find(name).handle()
    client = client_of(handle)
    batch = pa.RecordBatch.from_pylist([row])
    return {
        WIRE: lambda: next(client.predict([batch], True, caller=handle, timeout_s=_TIMEOUT_S)).to_numpy(),
        PREDICT: lambda: model.predict([row]),
    }


def _noop(bench: Bench, row: dict[str, float], frame: pd.DataFrame) -> Runs:
    with registered(bench, "bench_noop", _first_column, result_type="double") as model:
        actor = _actor(None)
        calls = {**_ours("bench_noop", model, row), RAY_FRAME: lambda: ray.get(actor.first.remote(frame))}
        return _latencies(bench, calls, frame.iloc[0, 0], actor)


def _linear(bench: Bench, uri: str, row: dict[str, float], frame: pd.DataFrame, truth: Any) -> Runs:
    with registered(bench, "bench_linear", uri) as model:
        actor = _actor(uri)
        calls = {**_ours("bench_linear", model, row), RAY_FRAME: lambda: ray.get(actor.predict.remote(frame))}
        return _latencies(bench, calls, truth, actor)


def _latencies(bench: Bench, calls: dict[str, Callable[[], Any]], expected: Any, actor: Any) -> dict[str, list[Array]]:
    """Milliseconds of each call, in one array for each run; runs are interleaved."""
    for name, call in calls.items():
        for _ in range(min(_WARM_UP_CALLS, 5 * _calls(bench))):  # enough for both workers to have answered
            compare(name, call(), expected)
    runs: Runs = {name: [] for name in calls}
    for _ in range(bench.runs):
        for name, call in calls.items():
            runs[name].append(_time(call, _calls(bench)))
            compare(name, call(), expected)
    ray.kill(actor)
    return runs


def _time(call: Callable[[], Any], times: int) -> Array:
    taken = np.empty(times)
    for i in range(times):
        started = time.perf_counter()
        call()
        taken[i] = time.perf_counter() - started
    return taken * 1e3


def _measures(model: str, runs: Runs, goal_against: str | None = None) -> list[Measure]:
    """p50 and p99 over all calls; the runs are the p50 and p99 of each."""
    lines = []
    for percent in (50, 99):
        values = {name: float(np.percentile(np.concatenate(taken), percent)) for name, taken in runs.items()}
        for name, taken in runs.items():
            line = Measure(
                f"{model}, p{percent}: {name}",
                [float(np.percentile(part, percent)) for part in taken],
                "ms",
                value=values[name],
                is_ours=name in (WIRE, PREDICT),
            )
            if not line.is_ours:
                line.judge(values[WIRE], GOAL if percent == 50 and name == goal_against else None)
            lines.append(line)
    return lines
