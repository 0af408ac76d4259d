# SPDX-License-Identifier: Apache-2.0
"""Sizes that follow the load, and many models on a cluster that has room for few."""

from __future__ import annotations

import pathlib
import random
import time

import pandas as pd
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance.load import Load, local, look
from tests.endurance.oracle import made


def slow(frame: pd.DataFrame) -> pd.Series:
    """A model that takes its time."""
    time.sleep(0.05)
    return 1000 * frame["a"] + frame["b"]


def waves(spark: SparkSession, home: pathlib.Path, times: int) -> list[str]:
    """`workers=(0, 3)` under a load that comes and goes."""
    model = sm.register(
        spark, "waves", slow, result_type="bigint", workers=(0, 3), num_cpus=0.1, idle_s=3.0, progress=False
    )
    faults, sizes = [], []
    for wave in range(times):
        load = Load()
        for _ in range(6):
            load.start("calls", local(model, 100))
        most, began = 0, time.monotonic()
        while time.monotonic() - began < (5 if most > 1 else 120):
            most = max(most, len(model.stats()["workers"]))
            time.sleep(0.5)
        faults += load.stop()
        least, until = most, time.monotonic() + 120
        while least and time.monotonic() < until:
            least = min(least, len(model.stats()["workers"]))
            time.sleep(0.5)
        sizes.append((most, least))
        print(f"wave {wave}: {most} workers at most, {least} afterwards; {load.told()}", flush=True)
    if any(most < 2 or least for most, least in sizes):
        faults.append(f"the size did not follow the load: {sizes}")
    model.drop()
    return faults


def many(spark: SparkSession, home: pathlib.Path, times: int) -> list[str]:
    """20 models with a CPU for each worker, on a Ray that has five left."""
    count = 20
    reserved = sm.register(spark, "rest", made(home, 0), workers=11, num_cpus=1.0, progress=False)
    models = [
        sm.register(spark, f"many{n}", made(home, n), workers=(0, 1), num_cpus=1.0, progress=False)
        for n in range(count)
    ]
    rng, load = random.Random(7), Load()
    frame = pd.DataFrame({"a": range(10), "b": range(10)}).astype("int64")

    def once(seen: object) -> None:
        model = rng.choice(models)
        look(seen, zip(model.predict(frame, timeout_s=120), frame["a"], frame["b"], strict=True))  # type: ignore[arg-type]

    for _ in range(3):
        load.start("many", once)
    load.wait_for(times, 1200)
    faults = load.stop()
    print(f"{count} models in the room of five: {load.told()}", flush=True)
    if len(load.seen["many"].versions) < min(count, times // 4):
        faults.append(f"only {len(load.seen['many'].versions)} of {count} models were called")
    for model in (reserved, *models):
        model.drop()
    return faults
