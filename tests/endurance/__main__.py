# SPDX-License-Identifier: Apache-2.0
"""Runs a show as long as wanted; ends with 1 if anything was seen that must not be.

    python -m tests.endurance swaps --times 100
    python -m tests.endurance chaos --seconds 600 --seed 7
    python -m tests.endurance soak --seconds 1800

chaos: kills of workers, supervisors and executors, workers that stand still, black holes and swaps, under queries by
both paths, a stream and direct callers. The faults and their times are a function of the seed.
kills: one of three workers every three seconds under ten million rows. crowd: one-row callers beside a large job, and
a slow worker beside a fast one.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable

import pyspark
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance import soak as soak_module
from tests.endurance.chaos import chaos
from tests.endurance.crowd import crowd
from tests.endurance.deaths import deaths
from tests.endurance.intents import intents
from tests.endurance.kills import kills
from tests.endurance.scaling import many, waves
from tests.endurance.soak import soak
from tests.endurance.swaps import swaps
from tests.fuzz.__main__ import session
from tests.integration.scripts import other_scratch, scratch_directories

# What a show does: from a session, a folder and how many times, or seconds: a text for each fault.
SHOWS: dict[str, tuple[Callable[[SparkSession, pathlib.Path, int], list[str]], int]] = {
    "swaps": (swaps, 100),
    "deaths": (deaths, 20),
    "intents": (intents, 200),
    "waves": (waves, 3),
    "many": (many, 200),
    "chaos": (chaos, 600),
    "soak": (soak, 1800),
    "kills": (kills, 120),
    "crowd": (crowd, 300),
}
BY_DEFAULT = list(SHOWS)[:5]
LEFT_S = 60.0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance",
        description=f"{__doc__}\nsoak: {soak_module.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "shows", nargs="*", default=BY_DEFAULT, help=f"of {', '.join(SHOWS)}; the first five by default"
    )
    parser.add_argument(
        "--times", "--seconds", type=int, dest="times", help="how often, or how long; each show has its own default"
    )
    parser.add_argument("--seed", type=int, help="of chaos; another one each time by default")
    asked = parser.parse_args()
    seed = int.from_bytes(os.urandom(2), "big") if asked.seed is None else asked.seed
    faults, before = [], scratch_directories()
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        java_options = soak_module.JAVA_OPTIONS if "soak" in asked.shows else ""
        spark = session(home, 2 if asked.shows == ["chaos"] else 0, java_options)
        app = spark.sparkContext.applicationId
        # PySpark's own way with Ctrl-C cancels the callers' queries, amid whatever it says to the JVM just now
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            for name in asked.shows:
                show, times = SHOWS[name]
                if show is chaos:
                    show = functools.partial(chaos, seed=seed)
                began = time.monotonic()
                found = show(spark, home / name, asked.times or times)
                print(f"{name}: {len(found)} faults, {time.monotonic() - began:.0f} s", flush=True)
                faults += found
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            faults.append("interrupted")
        finally:
            spark.stop()
            sm.shutdown()
            # a cluster within the driver's JVM puts the directories of its executors there
            shutil.rmtree(pathlib.Path(pyspark.__file__).parent / "work" / app, ignore_errors=True)
    faults += left(before)
    print("\n".join(faults))
    return 1 if faults else 0


def left(before: set[str]) -> list[str]:
    """Directories that are still there, although all has ended, and are nobody else's."""
    deadline = time.monotonic() + LEFT_S
    while (found := scratch_directories() - before - other_scratch()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return [f"{path} is left" for path in sorted(found)]


if __name__ == "__main__":
    sys.exit(main())
