# SPDX-License-Identifier: Apache-2.0
"""A steady load for long, beside pools that come and go: nothing may grow.

Fails if, over the second half of the run, the memory of the driver, its JVM, the supervisor or a worker grows by more
than 1 MiB a minute (by more than 20 MiB in all, in a run of less than 20 minutes); or if one of them has more than 16
descriptors, 8 threads or 8 connections more at the end than after the first third; or if there are more of our
directories under /tmp, or if 20 MiB more live in the JVM's heap, all of which it has from the start. Of these numbers
the least of some looks counts, for what comes and goes. Another program on the machine that uses sparkmodel has
directories there too; and one that takes the cores changes how many threads Spark needs.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Sequence

import psutil
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance.chaos import Oracle
from tests.endurance.load import BRIDGE, Load, Stream, local, query, tables
from tests.endurance.watch import Taken, Watch, java, supervisor
from tests.integration.scripts import scratch_directories

MIB_A_MINUTE, MIB_AT_LEAST = 1.0, 20.0
MORE = {"descriptors": 16, "threads": 8, "connections": 8}
NAMES = ("MiB", *MORE)
LOOK_S = 5.0
# a heap that grows and shrinks as the collector likes would hide what is looked for
JAVA_OPTIONS = "-Xms2g -XX:+AlwaysPreTouch"


class Samples:
    """What some processes took, over time."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.taken: dict[str, list[Taken]] = {}
        self.directories: list[int] = []
        self.heap: list[float] = []

    def take(self, at_s: float, processes: dict[str, psutil.Process]) -> None:
        """One look at each."""
        self.times.append(at_s)
        self.directories.append(len(scratch_directories()))
        for name, process in processes.items():
            self.taken.setdefault(name, []).append(Taken.of(process))

    def look_into(self, spark: SparkSession) -> None:
        """What lives in the heap of the driver's JVM."""
        jvm = spark.sparkContext._jvm
        assert jvm is not None
        jvm.java.lang.System.gc()
        runtime = jvm.java.lang.Runtime.getRuntime()
        self.heap.append((runtime.totalMemory() - runtime.freeMemory()) / (1 << 20))

    def faults(self) -> list[str]:
        """What has grown."""
        half = len(self.times) // 2
        minutes = (self.times[-1] - self.times[half]) / 60
        found = []
        for name, taken in self.taken.items():
            slope = slope_of(self.times[half:], [one.mib for one in taken[half:]])
            if slope * minutes > max(MIB_A_MINUTE * minutes, MIB_AT_LEAST):
                found.append(f"{name} grows by {slope:.2f} MiB a minute")
            for what, most in MORE.items():
                before, after = self._before_and_after([getattr(one, what) for one in taken])
                if after - before > most:
                    found.append(f"{name} has {after} {what} where it had {before}")
        before, after = self._before_and_after(self.directories)
        if after > before:
            found.append(f"{after} directories under /tmp where {before} were")
        before, after = self._before_and_after(self.heap or [0])
        if after - before > MIB_AT_LEAST:
            found.append(f"{after:.0f} MiB live in the heap where {before:.0f} did")
        return found

    def _before_and_after(self, numbers: Sequence[float]) -> tuple[float, float]:
        """The least after a third of the run, and at its end."""
        third, some = len(numbers) // 3, max(1, len(numbers) // 6)
        return min(numbers[third : third + some]), min(numbers[-some:])

    def told(self) -> str:
        """The last look in one line."""
        parts = [f"{name} " + "/".join(f"{number:.0f}" for number in taken[-1]) for name, taken in self.taken.items()]
        parts += [f"heap {mib:.0f}" for mib in self.heap[-1:]]
        return f"{'/'.join(NAMES)}: {', '.join(parts)}; {self.directories[-1]} directories"


def slope_of(seconds: Sequence[float], values: Sequence[float]) -> float:
    """By how much the values grow in a minute, by least squares."""
    middle, mean = sum(seconds) / len(seconds), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in seconds)
    return 60 * sum((at - middle) * (v - mean) for at, v in zip(seconds, values, strict=True)) / spread if spread else 0


def soak(spark: SparkSession, home: pathlib.Path, seconds: int) -> list[str]:
    """Returns what has grown, and what else must not be."""
    home.mkdir(parents=True, exist_ok=True)
    plain = spark.newSession()
    plain.conf.set(BRIDGE, "false")
    path, load, samples = tables(spark, home), Load(), Samples()
    model = sm.register(spark, "soaked", Oracle(0), result_type="bigint", workers=2, num_cpus=0.1)
    watch = Watch(model)
    load.start("bridge", query(model.transform(spark.read.parquet(path), "p")), 0.5)
    load.start("python", query(sm.get("soaked", plain).transform(plain.read.parquet(path), "p")), 0.5)
    for _ in range(2):
        load.start("direct", local(model, 1000), 0.05)
    load.start("others", comes_and_goes(spark), 10.0)
    stream = Stream(spark, model, home, load, "stream")
    processes = {"driver": psutil.Process(), "jvm": java(), "supervisor": supervisor()}
    processes |= {f"worker{number}": watch.seen[pid] for number, pid in enumerate(watch.workers())}
    began, minute, lost = time.monotonic(), 1, ""
    try:
        while (now := time.monotonic() - began) < seconds and not lost:
            try:
                samples.take(now, processes)
            except psutil.NoSuchProcess as error:
                lost = f"process {error.pid} has ended"
            if now >= 60 * minute:
                samples.look_into(spark)
                print(f"{minute} min: {samples.told()}; {load.told()}", flush=True)
                minute += 1
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        print("interrupted: what has been until now is looked at", flush=True)
    found = [lost] if lost else samples.faults()
    stream.stop()
    found += load.stop()
    watch.close()
    model.drop()
    print(f"{len(samples.times)} looks; {samples.told()}; {load.told()}", flush=True)
    return found


def comes_and_goes(spark: SparkSession) -> Callable[[object], None]:
    """A pool that is made, moved to another version, called and dropped."""
    number = 0

    def once(seen: object) -> None:
        nonlocal number
        number += 1
        other = sm.register(spark, "passing", Oracle(number), result_type="bigint", num_cpus=0.1, progress=False)
        try:
            local(other, 100)(seen)  # type: ignore[arg-type]
            other.update(Oracle(number + 1), progress=False)
            local(other, 100)(seen)  # type: ignore[arg-type]
        finally:
            other.drop()

    return once
