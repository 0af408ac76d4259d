# SPDX-License-Identifier: Apache-2.0
"""The supervisor of the pools is killed again and again, at its named steps and amid them."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
import time
from collections.abc import Iterator

import psutil
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance.load import Load, local, query, tables
from tests.endurance.oracle import made

CONTROL_S = 5.0


def supervisors() -> Iterator[psutil.Process]:
    """The supervisors that this process's children and theirs are."""
    for process in psutil.Process().children(recursive=True):
        try:
            if "SupervisorProcess" in "".join(process.cmdline()):
                yield process
        except psutil.Error:  # it has ended
            continue


def pids(model: sm.Model) -> set[int]:
    """The processes of the version that is served; those of one before end when its queries have."""
    stats = model.stats()
    return {worker["pid"] for worker in stats["workers"] if worker["version"] == stats["version"]}


def deaths(spark: SparkSession, home: pathlib.Path, times: int) -> list[str]:
    """Returns what must not be: a failed call, another worker, a revision that goes back."""
    model = sm.register(spark, "orphaned", made(home, 0), workers=2, num_cpus=0.1)
    load, faults, slow = Load(), list[str](), 0.0
    load.start("query", query(model.transform(spark.read.parquet(tables(spark, home)), "p")))
    load.start("local", local(model))
    load.wait_for(1)
    revision, number = model.handle.pool.directory.revision, 0
    for time_ in range(times):
        before = pids(model)
        # every other time something is under way, which is done in the end whoever does it
        moving = threading.Thread(target=model.update, args=(made(home, number + 1),), kwargs={"progress": False})
        if time_ % 2:
            number += 1
            moving.start()
            time.sleep(0.05 * (time_ % 10))
        for process in list(supervisors()):
            os.kill(process.pid, signal.SIGKILL)
        began = time.monotonic()
        after = pids(model)
        slow = max(slow, time.monotonic() - began)
        if not time_ % 2 and after != before:
            faults.append(f"death {time_}: workers {sorted(before)} are {sorted(after)}")
        if time_ % 2:
            moving.join(120)
        model.describe()
        newest = model.handle.pool.directory.revision
        if newest <= revision:
            faults.append(f"death {time_}: revision {revision} became {newest}")
        revision = newest
        load.wait_for(1)
    faults += load.stop()
    print(f"{times} deaths; slowest control call {slow:.1f} s (goal {CONTROL_S:g} s); {load.told()}", flush=True)
    model.drop()
    return faults
