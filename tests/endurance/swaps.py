# SPDX-License-Identifier: Apache-2.0
"""Many updates, every other one with its columns in another order, under queries, streams and local calls.

A caller of one row says how long it waits before the first update, amid them and after the last one.
"""

from __future__ import annotations

import math
import pathlib
import time

from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance.load import BRIDGE, MICRO_BATCH, Load, Seen, Stream, local, quantile, query, tables
from tests.endurance.oracle import made

_QUIET_S = 20.0  # without an update, before and after; less where there are few
_MORE = 2.0  # the goal: a caller's p99 amid updates, by that without


def swaps(spark: SparkSession, home: pathlib.Path, times: int) -> list[str]:
    """Returns what must not be: errors, wrong numbers, calls with two versions, rows scored twice."""
    model = sm.register(spark, "swapped", made(home, 0), workers=2, num_cpus=0.1, max_retries=0)
    plain = spark.newSession()
    plain.conf.set(BRIDGE, "false")
    path, load = tables(spark, home), Load()
    load.start("bridge", query(model.transform(spark.read.parquet(path), "p")))
    load.start("python", query(sm.get("swapped", plain).transform(plain.read.parquet(path), "p")))
    load.start("local", local(model))
    load.start("one row", local(model, rows=1), pause_s=0.005, is_timed=True)
    streams = [Stream(s, sm.get("swapped", s), home, load, kind) for kind, s in (("stream", spark), ("pstream", plain))]
    load.wait_for(1)
    ready, quiet_s = time.monotonic(), min(_QUIET_S, times / 5)
    time.sleep(quiet_s)
    began = time.monotonic()
    for number in range(1, times + 1):
        model.update(made(home, number), progress=False)
        if number % 10 == 0:
            load.wait_for(1)
            print(f"{number} swaps, {time.monotonic() - began:.0f} s; {load.told()}", flush=True)
    ended = time.monotonic()
    time.sleep(quiet_s)
    print(_waits(load.seen["one row"], ready, began, ended), flush=True)
    load.wait_for(2)
    for stream in streams:
        stream.stop()
    faults = load.stop()
    asked = sum(seen.rows for seen in load.seen.values())
    scored = model.stats()["rows"]
    # a stream that is stopped may leave its last micro-batch scored and not seen
    if not 0 <= scored - asked <= len(streams) * MICRO_BATCH and not faults:
        faults.append(f"{asked} rows were asked for, {scored} were scored")
    if len(load.seen["local"].versions) < 2:
        faults.append("no swap was seen")
    print(f"{asked} rows were asked for, {scored} were scored", flush=True)
    model.drop()
    return faults


def _waits(seen: Seen, ready: float, began: float, ended: float) -> str:
    """How long a caller of one row waited, for people."""
    spans = {"before": (ready, began), "amid": (began, ended), "after": (ended, math.inf)}
    took = {name: seen.between(*span) for name, span in spans.items()}
    ms = {name: [quantile(times, part) * 1000 for part in (0.5, 0.99)] for name, times in took.items()}
    told = ", ".join(
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms {name} ({len(took[name])} calls)" for name, (p50, p99) in ms.items()
    )
    ratio = ms["amid"][1] / (ms["before"][1] or 1.0)
    return f"a caller of one row: {told}: p99 x {ratio:.1f} amid updates (goal: at most {_MORE:g})"
