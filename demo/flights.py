# SPDX-License-Identifier: Apache-2.0
"""One model, called from SQL, from data frames, from a stream and from Python, through one pool.

A scikit-learn pipeline learns the arrival delay of all flights that left New York in 2013 and is registered in
MLflow; `sparkmodel.register` makes it a SQL function. Everything lives in a temporary directory and ends with the
program.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import signal
import sys
import tempfile
from collections.abc import Callable


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"it must be {least} or more")
        return int(text)

    return number


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C was at the beginning of this error; what it interrupts may make another error of it."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _is_interrupt(error.__context__))


def main() -> int:
    """Parse the options, run, and clean up whatever happens; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train, register and score the flights of 2013 from New York.")
    parser.add_argument("--rows", type=_at_least(1000), help="take a random sample of that many flights (default: all)")
    parser.add_argument("--workers", type=_at_least(1), default=2, help="workers that load the model (default: 2)")
    options = parser.parse_args()
    # before the libraries that read them are imported. OpenMP's threads wait for each other at full speed by default,
    # which starves them all where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        print("Loading pandas, scikit-learn, MLflow, Spark and Ray ...", flush=True)
        from story import Demo  # here, so that --help needs none of them and Ctrl-C ends it cleanly

        with contextlib.ExitStack() as cleanup:
            home = pathlib.Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="flights-demo-")))
            return Demo(home, options.rows, options.workers, cleanup).run()
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        print("\nInterrupted; everything that was started has been stopped.", file=sys.stderr, flush=True)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
