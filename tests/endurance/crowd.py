# SPDX-License-Identifier: Apache-2.0
"""Who shares a pool: one-row callers beside a job of two thousand partitions, and a slow worker beside a fast one."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import arrow_udf

import sparkmodel as sm
from tests.endurance.load import BRIDGE

PARTITIONS, ROWS_EACH = 2_000, 500
FAIR, BETTER = 5.0, 5.0  # the goals: at most so many times the caller's time alone; at least so many times the rows
CALL_S = 0.02
SLOW_S, FAST_S = 0.4, 0.02
SHAPES = ((400, 1_000), (40, 100_000))  # parts, and rows of each: a batch, and ten


def paced(frame: pd.DataFrame) -> Any:
    """A model whose every call takes the same time, however many rows it has."""
    time.sleep(CALL_S)
    return frame.iloc[:, 0] * 2.0


class Uneven:
    """A model that is slow in whichever worker takes a file first."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path, self.seconds = path, 0.0

    def predict(self, frame: pd.DataFrame) -> Any:
        if not self.seconds:
            try:
                self.path.touch(exist_ok=False)
                self.seconds = SLOW_S
            except FileExistsError:
                self.seconds = FAST_S
        time.sleep(self.seconds)
        return frame.iloc[:, 0] * 2.0


def crowd(spark: SparkSession, home: pathlib.Path, times: int) -> list[str]:
    """Returns which goals were missed, and wrong sums."""
    home.mkdir(parents=True, exist_ok=True)
    found = []
    sessions = {path: spark.newSession() for path in ("bridge", "python")}
    for path, session in sessions.items():
        session.conf.set(BRIDGE, str(path == "bridge").lower())
        found += [f"{path}: {fault}" for fault in _beside(session, path, times)]
    for parts, each in SHAPES:  # one path after the other, so that both have the same machine
        for path, session in sessions.items():
            mark = home / f"{path}-{parts}"
            found += [f"{path}: {fault}" for fault in _uneven(session, path, mark, parts, each)]
        took = _nothing(spark, parts, each)
        print(f"{parts} tasks with a Python function that does nothing: {took:.1f} s", flush=True)
    return found


def _times(model: sm.Model, go_on: Callable[[int], bool]) -> list[float]:
    frame, took = pd.DataFrame({"x": [1.0]}), list[float]()
    while go_on(len(took)):
        began = time.monotonic()
        assert list(model.predict(frame)) == [2.0]
        took.append(time.monotonic() - began)
    return sorted(took)


def _beside(spark: SparkSession, path: str, times: int) -> list[str]:
    model = sm.register(spark, "crowded", paced, result_type="double", workers=2, num_cpus=0.1)
    _times(model, lambda done: done < 20)  # connections are made
    alone = _times(model, lambda done: done < times)
    total = PARTITIONS * ROWS_EACH
    rows = spark.range(0, total, 1, PARTITIONS).selectExpr("CAST(id AS DOUBLE) AS x")
    sums: list[float] = []

    def job() -> None:
        row: Any = model.transform(rows, "p").selectExpr("sum(p) AS s").first()
        sums.append(row.s)

    thread = threading.Thread(target=job, daemon=True)
    began, before = time.monotonic(), model.stats()["batches"]
    thread.start()
    while thread.is_alive() and model.stats()["batches"] < before + 20:
        time.sleep(0.05)
    beside = _times(model, lambda done: thread.is_alive())
    thread.join()
    ratio = _p99(beside) / _p99(alone)
    print(
        f"{path}: a caller of one row: p50 {_ms(alone, 0.5)}, p99 {_ms(alone, 0.99)} alone ({len(alone)} calls), "
        f"p50 {_ms(beside, 0.5)}, p99 {_ms(beside, 0.99)} beside {PARTITIONS} partitions ({len(beside)} calls, "
        f"{time.monotonic() - began:.0f} s): p99 x {ratio:.1f} (goal: at most {FAIR:g})",
        flush=True,
    )
    model.drop()
    found = [] if sums == [float(total * (total - 1))] else [f"the job's sum is {sums}"]
    return found + ([f"p99 beside the job is {ratio:.1f} times that alone"] if ratio > FAIR else [])


def _rows(spark: SparkSession, parts: int, each: int) -> DataFrame:
    return spark.range(0, parts * each, 1, parts).selectExpr("CAST(id AS DOUBLE) AS x")


def _nothing(spark: SparkSession, parts: int, each: int) -> float:
    """Seconds of the same job where Spark's Python workers give back what they get."""

    def same(arrays: Iterator[pa.Array]) -> Iterator[pa.Array]:
        yield from arrays

    began = time.monotonic()
    _rows(spark, parts, each).select(arrow_udf(same, "double")("x").alias("p")).selectExpr("sum(p) AS s").first()
    return time.monotonic() - began


def _uneven(spark: SparkSession, path: str, mark: pathlib.Path, parts: int, each: int) -> list[str]:
    """Rows a second against what two workers would do that take turns: twice what the slow one does."""
    model = sm.register(spark, "uneven", Uneven(mark), result_type="double", workers=2, num_cpus=0.1)
    with ThreadPoolExecutor(4) as threads:  # both workers find out which they are
        list(threads.map(lambda _: model.predict(pd.DataFrame({"x": [1.0]})), range(8)))
    rows, before = _rows(spark, parts, each), model.stats()
    began = time.monotonic()
    row: Any = model.transform(rows, "p").selectExpr("sum(p) AS s").first()
    took = time.monotonic() - began
    after = model.stats()
    calls = after["batches"] - before["batches"]
    slow = min(worker["batches"] for worker in after["workers"])
    turns = calls / 2 * SLOW_S
    print(
        f"{path}: one worker of two {SLOW_S / FAST_S:g} times as slow: {calls} batches of {parts} tasks in "
        f"{took:.1f} s, {slow} by the slow one, where taking turns needs {turns:.1f} s: x {turns / took:.1f} "
        f"(goal: at least {BETTER:g})",
        flush=True,
    )
    model.drop()
    found = [] if row.s == float(parts * each * (parts * each - 1)) else [f"the sum is {row.s}"]
    return found + ([f"only {turns / took:.1f} times what taking turns does"] if turns / took < BETTER else [])


def _p99(took: list[float]) -> float:
    return took[min(len(took) - 1, int(len(took) * 0.99))]


def _ms(took: list[float], part: float) -> str:
    return f"{took[min(len(took) - 1, int(len(took) * part))] * 1000:.1f} ms"
