# SPDX-License-Identifier: Apache-2.0
"""P5: the memory that a model of a gigabyte takes where eight tasks call it at a time."""

from __future__ import annotations

import pathlib
import sys
import time
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.models import infer_signature

from benchmarks.common import OURS, SPARK_UDF, Array, Bench, Measure, Result, compare, say
from benchmarks.processes import child, rest
from benchmarks.resident import WORKERS

GOAL = 0.3
WITH_RAY = f"{OURS}, with Ray's own processes"
AGAIN = f"{SPARK_UDF}, against all of them"
_BYTES = 1_000_000_000
_ROWS = 8_000
_CORES = 8


class LookUp(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A number of a large table for each row. Takes its time for the first batch, as models do that compile."""

    def __init__(self, table: Array, first_s: float) -> None:
        self._table, self._wait_s = table, first_s

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        wait_s, self._wait_s = self._wait_s, 0.0
        time.sleep(wait_s)  # else the first task has ended before the last one has its copy
        return pd.Series(self._table[model_input["a"].to_numpy() % len(self._table)])


def run(bench: Bench) -> Result:
    """Measure the memory of sparkmodel's two copies and of those of MLflow's spark_udf, each in its own session."""
    table = np.random.default_rng(5).random(bench.scaled(_BYTES // 8, at_least=_ROWS))
    say(f"  logging a model of {table.nbytes / 1e6:,.0f} MB")
    uri = _log_model(table, first_s=15.0 * min(1.0, bench.scale))
    ids = np.arange(_ROWS)
    places = ids * (len(table) // _ROWS)
    rows_file = bench.work / "p5.parquet"
    pq.write_table(pa.table({"id": ids, "a": places}), rows_file)
    cores = min(_CORES, bench.scaled(_CORES, at_least=2))
    mb: dict[str, list[float]] = {name: [] for name in (OURS, WITH_RAY, SPARK_UDF)}
    for _ in range(bench.fresh_runs):
        for name, contender in ((OURS, "sparkmodel"), (SPARK_UDF, "mlflow")):
            rest(bench.rest_s)
            peak, answers = _measure(contender, cores, uri, rows_file, bench.rest_s)
            compare(name, answers, table[places])
            mb[name].append(peak["pool"])
            if name == OURS:
                mb[WITH_RAY].append(peak["all"])
    mb[AGAIN] = mb[SPARK_UDF]
    lines = {name: Measure(name, runs, "MB", is_ours=name in (OURS, WITH_RAY)) for name, runs in mb.items()}
    lines[SPARK_UDF].judge(lines[OURS].value, GOAL)
    lines[AGAIN].judge(lines[WITH_RAY].value)
    return Result(
        "P5",
        f"memory with a model of {table.nbytes / 1e6:,.0f} MB, local[{cores}], {WORKERS} workers",
        list(lines.values()),
        {"model_bytes": table.nbytes},
    )


def _measure(
    contender: str, cores: int, uri: str, rows_file: pathlib.Path, rest_s: float
) -> tuple[dict[str, float], Array]:
    answers_file = rows_file.with_suffix(".npy")
    peak = child("resident", contender, str(cores), uri, str(rows_file), str(answers_file), str(rest_s))
    answers = np.load(answers_file)
    answers_file.unlink()
    return peak, answers


def _log_model(table: Array, first_s: float) -> str:
    # by value: Spark's Python workers and the pool's workers need not find this module
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    frame = pd.DataFrame({"a": [1]})
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="look_up",
            python_model=LookUp(table, first_s),
            signature=infer_signature(frame, pd.Series([1.0])),
            pip_requirements=["mlflow"],
        )
    return str(info.model_uri)
