# SPDX-License-Identifier: Apache-2.0
"""Runs a show as long as wanted; ends with 1 if anything was seen that must not be.

python -m tests.endurance swaps --times 100
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.endurance.deaths import deaths
from tests.endurance.intents import intents
from tests.endurance.scaling import many, waves
from tests.endurance.swaps import swaps
from tests.fuzz.__main__ import session

# What a show does: from a session, a folder and how many times: a text for each fault.
SHOWS: dict[str, tuple[Callable[[SparkSession, pathlib.Path, int], list[str]], int]] = {
    "swaps": (swaps, 100),
    "deaths": (deaths, 20),
    "intents": (intents, 200),
    "waves": (waves, 3),
    "many": (many, 200),
}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("shows", nargs="*", default=list(SHOWS), help=f"of {', '.join(SHOWS)}; all by default")
    parser.add_argument("--times", type=int, help="how often; each show has its own default")
    asked = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        spark = session(home)
        for name in asked.shows:
            show, times = SHOWS[name]
            began = time.monotonic()
            found = show(spark, home / name, asked.times or times)
            print(f"{name}: {len(found)} faults, {time.monotonic() - began:.0f} s", flush=True)
            faults += found
        spark.stop()
        sm.shutdown()
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
