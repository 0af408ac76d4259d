# SPDX-License-Identifier: Apache-2.0
"""Runs many generated cases and tells where ways differ; ends with 1 if any do.

    python -m tests.fuzz --plans 2000 --signatures 2000 --frames 10000 [--seed 0] [--first 0]

Case n of a seed is always the same: `--seed S --first N --plans 1` runs one again.
"""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

from pyspark.sql import SparkSession

import sparkmodel as sm
from tests import bridge
from tests.fuzz.frames import frames
from tests.fuzz.plans import Plans
from tests.fuzz.signatures import signatures
from tests.fuzz.ways import WAYS, outcome, refused, tables

# What a kind of case does: from a session, a folder, the seed and the numbers of cases: a text for each case that
# fails, None for each that agrees.
Kind = Callable[[SparkSession, pathlib.Path, int, Iterable[int]], Iterator[str | None]]


def plans(spark: SparkSession, home: pathlib.Path, seed: int, numbers: Iterable[int]) -> Iterator[str | None]:
    """Queries of any shape, with the bridge and without, with the rules and without."""
    kinds: collections.Counter[str] = collections.Counter()
    ways = list(WAYS)
    refusals = refused(spark)
    with tables(spark, home):
        for number in numbers:
            plan = Plans(seed * 1_000_000 + number).plan()
            # each plan goes both ways, and some a third one
            tried = ways[:2] if number % 4 else [*ways[:2], ways[2 + number // 4 % 2]]
            outcomes = {way: outcome(spark, plan, way) for way in tried}
            wanted = outcomes[ways[0]]
            kinds[wanted[0]] += 1
            different = [way for way, found in outcomes.items() if found != wanted]
            if refused(spark) != refusals:
                refusals = refused(spark)
                yield f"plan {number} has a part that the rules should not have made: {plan.query}\n  {plan.settings}"
            elif different or wanted[0] == "error":
                told = "\n".join(f"  {way}: {kind} {str(found)[:700]}" for way, (kind, found) in outcomes.items())
                yield f"plan {number}: {plan.query}\n  {plan.settings}\n{told}"
            else:
                yield None
    print(f"outcomes: {dict(kinds)}")


KINDS: dict[str, Kind] = {"plans": plans, "signatures": signatures}


def session(home: pathlib.Path, executors: int = 0, java_options: str = "") -> SparkSession:
    """Like that of the tests: the checkout's bridge, a local Ray.

    Args:
        home: Where its files are.
        executors: How many processes of their own run the tasks; of none, the driver does.
        java_options: For the driver's JVM.
    """
    script = bridge.build_script()
    script.build(script.JARS, if_changed=True)
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m")
    sm.init(num_cpus=16, log_to_driver=False)
    made = (
        sm.configure_spark(SparkSession.builder)
        .master(f"local-cluster[{executors},1,1024]" if executors else "local[2]")
        # executors that are killed again and again are no reason to give up
        .config("spark.deploy.maxExecutorRetries", "-1")
        .config("spark.task.maxFailures", "8")
        .config("spark.executor.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.extraJavaOptions", java_options)
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(home / "warehouse"))
        .getOrCreate()
    )
    made.sparkContext.setLogLevel("OFF")
    return made


def run(kind: str, cases: Iterator[str | None], count: int) -> int:
    """How many of the cases of a kind fail; each that does is told."""
    started, failed = time.monotonic(), 0
    for done, text in enumerate(cases, 1):
        if text is not None:
            failed += 1
            print(text, flush=True)
        if done % 100 == 0 or done == count:
            took = time.monotonic() - started
            print(f"{kind}: {done} of {count} run, {failed} differ, {took:.0f} s", flush=True)
    return failed


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    for kind in [*KINDS, "frames"]:
        parser.add_argument(f"--{kind}", type=int, default=0, help=f"how many {kind}")
    asked = parser.parse_args()
    counts = {kind: getattr(asked, kind) for kind in KINDS if getattr(asked, kind)}
    failed = 0
    if asked.frames:  # they need no engine
        failed += run("frames", frames(asked.seed, range(asked.first, asked.first + asked.frames)), asked.frames)
    if not counts:
        return 1 if failed else 0
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        spark = session(home)
        failed += sum(
            run(kind, KINDS[kind](spark, home, asked.seed, range(asked.first, asked.first + count)), count)
            for kind, count in counts.items()
        )
        spark.stop()
        sm.shutdown()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
