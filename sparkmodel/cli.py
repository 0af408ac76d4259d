# SPDX-License-Identifier: Apache-2.0
"""The command `sparkmodel`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sparkmodel.doctor import report
from sparkmodel.errors import SparkModelError
from sparkmodel.spark.bridge import find_jar
from sparkmodel.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except SparkModelError as error:
        print(error, file=sys.stderr)
        return 1
    return code


def parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(prog="sparkmodel", description="A Python model as a Spark SQL function.")
    parser.add_argument("--version", action="version", version=f"sparkmodel {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    jar = commands.add_parser("jar", help='print the path of the jar, as in spark-submit --jars "$(sparkmodel jar)"')
    jar.set_defaults(run=_jar)
    report.add_to(commands)
    return parser


def _jar(_: argparse.Namespace) -> int:
    print(find_jar())
    return 0
