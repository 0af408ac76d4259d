# SPDX-License-Identifier: Apache-2.0
"""Many updates, every other one with its columns in another order, under queries, streams and local calls."""

from __future__ import annotations

import pathlib
import time

from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance.load import BRIDGE, MICRO_BATCH, Load, Stream, local, query, tables
from tests.endurance.oracle import made


def swaps(spark: SparkSession, home: pathlib.Path, times: int) -> list[str]:
    """Returns what must not be: errors, wrong numbers, calls with two versions, rows scored twice."""
    model = sm.register(spark, "swapped", made(home, 0), workers=2, num_cpus=0.1, max_retries=0)
    plain = spark.newSession()
    plain.conf.set(BRIDGE, "false")
    path, load = tables(spark, home), Load()
    load.start("bridge", query(model.transform(spark.read.parquet(path), "p")))
    load.start("python", query(sm.get("swapped", plain).transform(plain.read.parquet(path), "p")))
    load.start("local", local(model))
    streams = [Stream(s, sm.get("swapped", s), home, load, kind) for kind, s in (("stream", spark), ("pstream", plain))]
    load.wait_for(1)
    began = time.monotonic()
    for number in range(1, times + 1):
        model.update(made(home, number), progress=False)
        if number % 10 == 0:
            load.wait_for(1)
            print(f"{number} swaps, {time.monotonic() - began:.0f} s; {load.told()}", flush=True)
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
