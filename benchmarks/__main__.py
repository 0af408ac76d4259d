# SPDX-License-Identifier: Apache-2.0
"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import importlib
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

MODULES = {
    "p1": "p1_linear",
    "p2": "p2_noop",
    "p3": "p3_floor",
    "p4": "p4_forest",
    "p5": "p5_memory",
    "p6": "p6_loads",
    "p7": "p7_latency",
    "p11": "p11_first",
    "p12": "p12_one_more",
    "p13": "p13_ray_data",
}
RUNS = 5
HERE = pathlib.Path(__file__).parent
TRIAL_OUTPUT = pathlib.Path("build/benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks, print the table, write the files; 1 if outputs differed."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parse(arguments)
    # here, not above: --help is quick, and so is the start of P3's processes, which import this module
    from benchmarks import report
    from benchmarks.common import OutputsDifferError, open_bench, say

    results = []
    with open_bench(options.rows_scale, options.runs) as bench:
        where = report.environment(bench.spark, shlex.join(["python", "-m", "benchmarks", *arguments]))
        for name in options.only:
            say(f"{name.upper()} ...")
            started = time.monotonic()
            try:
                results.append(importlib.import_module(f"benchmarks.{MODULES[name]}").run(bench))
            except OutputsDifferError as error:
                say(f"FAILED {name.upper()}: outputs differ, nothing is written: {error}")
                return 1
            say(f"  took {time.monotonic() - started:.0f} s")
    print(report.write(options.output, where, results))
    say(f"README.md, results.json and results.png are in {options.output}")
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure sparkmodel against other ways to call a model from Spark; values are compared first.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        type=str.lower,
        choices=list(MODULES),
        default=list(MODULES),
        metavar="P1",
        help="run these",
    )
    parser.add_argument(
        "--rows-scale",
        type=float,
        default=1.0,
        help="factor on rows, calls, P5's model and P6's loads, such as 0.01 for a trial, which has no warm-ups, does "
        "not wait for what goes on in the background, and has one run of what starts processes each time: P5, P13, "
        "and P11's fresh ones",
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"timed runs of each contender (default {RUNS})")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help=f"directory for README.md, results.json, results.png (default: benchmarks/ for a full run, {TRIAL_OUTPUT} "
        "for a part or a trial, which must not replace a full run's table)",
    )
    options = parser.parse_args(arguments)
    if options.runs < 1 or options.rows_scale <= 0:
        parser.error("--runs and --rows-scale must be greater than 0")
    options.only = [name for name in MODULES if name in options.only]
    if options.output is None:
        is_full = len(options.only) == len(MODULES) and options.rows_scale == 1 and options.runs >= RUNS
        options.output = HERE if is_full else TRIAL_OUTPUT
    return options


if __name__ == "__main__":
    sys.exit(main())
