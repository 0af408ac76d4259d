# SPDX-License-Identifier: Apache-2.0
"""Callers that go on until they are told to stop, and look at every answer."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

import sparkmodel as sm
from tests.endurance.oracle import STEP, is_right

_looking = threading.Lock()  # several threads have one `Seen`
BRIDGE = "spark.sparkmodel.bridge.enabled"
MICRO_BATCH = 2_000
ROWS = 25_000  # three batches of a local call, some of each partition of a query


@dataclasses.dataclass
class Seen:
    """What one kind of caller has seen.

    Attributes:
        calls: Queries, micro-batches or local calls that were answered.
        rows: Their rows.
        errors: What was raised.
        wrong: Rows with a wrong number.
        mixed: Calls whose rows were scored by more than one version.
        versions: Calls by the number of the model that answered.
        longest_s: The slowest call, failed or not.
        times: When each call began and how long it took, by the monotonic clock, where that is wanted.
    """

    calls: int = 0
    rows: int = 0
    errors: list[str] = dataclasses.field(default_factory=list)
    wrong: int = 0
    mixed: int = 0
    versions: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    longest_s: float = 0.0
    times: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    def between(self, since: float, until: float) -> list[float]:
        """How long the calls took that were under way in a span of time, the quickest first."""
        return sorted(took for began, took in self.times if began < until and began + took > since)

    def faults(self, kind: str) -> list[str]:
        """What must not be, as texts."""
        found = [f"{kind}: {error}" for error in self.errors[:3]]
        if len(self.errors) > 3:
            found.append(f"{kind}: {len(self.errors)} errors in all")
        if self.wrong:
            found.append(f"{kind}: {self.wrong} rows of {self.rows} have wrong numbers")
        if self.mixed:
            found.append(f"{kind}: {self.mixed} of {self.calls} calls have two versions")
        if not self.calls:
            found.append(f"{kind}: nothing was called")
        return found


class Load:
    """Some callers in threads, each kind with what it has seen in `seen`."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self, kind: str, once: Callable[[Seen], None], pause_s: float = 0.0, is_timed: bool = False) -> None:
        """Call again and again; `is_timed` keeps how long each call took."""
        seen = self.seen.setdefault(kind, Seen())

        def run() -> None:
            while not self.stopping.is_set():
                began = time.monotonic()
                try:
                    once(seen)
                    with self._lock:
                        seen.calls += 1
                except Exception as error:
                    with self._lock:
                        seen.errors.append("".join(traceback.format_exception_only(error))[:2000])
                took = time.monotonic() - began
                with self._lock:
                    seen.longest_s = max(seen.longest_s, took)
                    if is_timed:
                        seen.times.append((began, took))
                self.stopping.wait(pause_s)

        thread = threading.Thread(target=run, name=f"load-{kind}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def wait_for(self, calls: int, timeout_s: float = 300.0) -> None:
        """Wait until each kind was answered, or has failed, so many times more."""
        before = {kind: seen.calls + len(seen.errors) for kind, seen in self.seen.items()}
        deadline = time.monotonic() + timeout_s
        for kind, seen in self.seen.items():
            while seen.calls + len(seen.errors) < before[kind] + calls:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{kind} was not answered within {timeout_s:g} s")
                time.sleep(0.02)

    def stop(self) -> list[str]:
        """End the callers; returns what must not be."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(300)
        stuck = [f"{thread.name} does not end" for thread in self._threads if thread.is_alive()]
        return stuck + [fault for kind, seen in self.seen.items() for fault in seen.faults(kind)]

    def told(self) -> str:
        """The numbers in one line."""
        return ", ".join(
            f"{kind}: {seen.calls} calls, {seen.rows} rows, longest {seen.longest_s:.2f} s"
            for kind, seen in self.seen.items()
        )


def local(model: sm.Model, rows: int = ROWS) -> Callable[[Seen], None]:
    """A local call of several batches."""
    frame = pd.DataFrame({"a": range(rows), "b": range(rows)}).astype("int64")

    def once(seen: Seen) -> None:
        look(seen, zip(model.predict(frame), frame["a"], frame["b"], strict=True))

    return once


def look(seen: Seen, rows: Any) -> None:
    """Add the (answer, a, b) of one call."""
    numbers, wrong = collections.Counter[int](), 0
    for answer, a, b in rows:
        numbers[int(answer) // STEP] += 1
        wrong += not is_right(answer, a, b)
    with _looking:
        seen.rows += sum(numbers.values())
        seen.wrong += wrong
        seen.mixed += len(numbers) > 1
        seen.versions.update(list(numbers)[:1])


def query(scored: DataFrame) -> Callable[[Seen], None]:
    """A query over a frame that has `a`, `b` and the answer `p`; the frame is the same each time."""

    def once(seen: Seen) -> None:
        told = _summary(scored).first()
        seen.rows += told.rows
        seen.wrong += told.wrong
        seen.mixed += told.last != told.first
        seen.versions[told.first] += 1

    return once


def _summary(scored: DataFrame) -> DataFrame:
    number = f.expr(f"p div {STEP}L")
    wrong = f.expr(f"p % {STEP}L <> 1000 * a + b OR p IS NULL")
    return scored.select(number.alias("number"), wrong.alias("wrong")).agg(
        f.count("*").alias("rows"),
        f.sum(f.col("wrong").cast("int")).alias("wrong"),
        f.min("number").alias("first"),
        f.max("number").alias("last"),
    )


class Stream:
    """A stream of micro-batches, each looked at by itself."""

    def __init__(self, spark: SparkSession, model: sm.Model, home: pathlib.Path, load: Load, kind: str) -> None:
        self.seen = load.seen.setdefault(kind, Seen())
        source = (
            spark.readStream.format("rate-micro-batch")
            .option("rowsPerBatch", MICRO_BATCH)
            .option("numPartitions", 2)
            .load()
        )
        rows = source.select(f.col("value").alias("a"), (f.col("value") + 1).alias("b"))
        self._query = (
            model.transform(rows, "p")
            .writeStream.foreachBatch(self._look)
            .option("checkpointLocation", str(home / kind))
            .start()
        )

    def _look(self, batch: DataFrame, number: int) -> None:
        look(self.seen, ((row.p, row.a, row.b) for row in batch.collect()))
        self.seen.calls += 1

    def stop(self) -> None:
        error = self._query.exception()
        self._query.stop()
        if error is not None:
            self.seen.errors.append(str(error)[:2000])


def quantile(took: list[float], part: float) -> float:
    """The value that such a part of the ordered values does not exceed; 0 without any."""
    return took[min(len(took) - 1, int(len(took) * part))] if took else 0.0


def tables(spark: SparkSession, home: pathlib.Path) -> str:
    """A Parquet file of rows, in several parts."""
    path = str(home / "rows")
    spark.range(100_000).select(f.col("id").alias("a"), (f.col("id") * 7).alias("b")).repartition(4).write.mode(
        "overwrite"
    ).parquet(path)
    return path
