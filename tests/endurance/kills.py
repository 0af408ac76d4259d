# SPDX-License-Identifier: Apache-2.0
"""A worker is killed every three seconds under queries of ten million rows: sums, failed tasks, pauses of a caller."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
import time
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance.load import BRIDGE, Load, local
from tests.endurance.watch import Watch

ROWS, PARTITIONS, WORKERS, EVERY_S = 10_000_000, 40, 3, 3.0


def paced(frame: pd.DataFrame) -> Any:
    """Ten thousand rows take as long as makes a query of ten million some two minutes."""
    time.sleep(len(frame) * 2.0e-5)
    return 1000 * frame["a"] + frame["b"]


def kills(spark: SparkSession, home: pathlib.Path, seconds: int) -> list[str]:
    """Returns what must not be: a wrong sum, a failed task, an error of the caller beside the query."""
    found = []
    for path in ("bridge", "python"):
        session = spark.newSession()
        session.conf.set(BRIDGE, str(path == "bridge").lower())
        found += [f"{path}: {fault}" for fault in _kills(session, path, seconds)]
    return found


def _kills(spark: SparkSession, path: str, seconds: int) -> list[str]:
    model = sm.register(spark, "killed", paced, result_type="bigint", workers=WORKERS, num_cpus=0.1)
    watch, load, found = Watch(model), Load(), list[str]()
    rows = spark.range(0, ROWS, 1, PARTITIONS).selectExpr("id AS a", "id * 7 AS b")
    wanted = sum(1007 * i for i in range(ROWS))
    # in lasting terms: a query that ends before the time is up is run again
    until, queries, killed = time.monotonic() + seconds, 0, 0
    over = threading.Event()
    context = spark.sparkContext

    def query() -> None:
        nonlocal queries
        context.setJobGroup(f"kills-{path}", path)
        try:
            while queries == 0 or time.monotonic() < until:
                told: Any = model.transform(rows, "p").selectExpr("sum(p) AS s", "count(p) AS n").first()
                queries += 1
                if (told.s, told.n) != (wanted, ROWS):
                    found.append(f"the sum is {told.s} of {told.n} rows, not {wanted} of {ROWS}")
        except Exception as error:
            found.append(f"the query failed after {killed} kills: {str(error)[:600]}")
        finally:
            over.set()

    thread = threading.Thread(target=query, daemon=True)
    load.start("caller", local(model, 1), 0.02)
    load.wait_for(5)
    alone_s = load.seen["caller"].longest_s
    began = time.monotonic()
    thread.start()
    minute = 1
    while not over.wait(EVERY_S):
        alive = watch.workers()
        if alive and time.monotonic() < until:
            os.kill(alive[killed % len(alive)], signal.SIGKILL)
            killed += 1
        if time.monotonic() - began > 60 * minute:
            print(f"{minute} min: {killed} kills, {queries} queries, {load.told()}", flush=True)
            minute += 1
    thread.join()
    tracker = context.statusTracker()
    failed = 0
    for job in tracker.getJobIdsForGroup(f"kills-{path}"):
        told = tracker.getJobInfo(job)
        for stage in told.stageIds if told else ():
            failed += getattr(tracker.getStageInfo(stage), "numFailedTasks", 0)
    if failed:
        found.append(f"{failed} tasks of Spark failed")
    found += load.stop()
    stats = model.stats()
    again = stats["rows"] - load.seen["caller"].rows - queries * ROWS
    print(
        f"{path}: {killed} kills in {time.monotonic() - began:.0f} s, {queries} queries of {ROWS} rows, "
        f"{failed} failed tasks, {stats['restarts']} restarts, {again} rows more scored than asked as the pool counts; "
        f"longest call of one row beside it {load.seen['caller'].longest_s:.2f} s (before: {alone_s:.2f} s)",
        flush=True,
    )
    watch.close()
    model.drop()
    return found
