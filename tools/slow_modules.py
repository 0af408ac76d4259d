# SPDX-License-Identifier: Apache-2.0
"""Where the time of a test run went.

`python tools/slow_modules.py REPORT` prints the seconds of each test file in a report of `pytest --junit-xml`, the
slowest first. With `--write`, what the groups of tests/schedule.py took is kept in tests/seconds.txt, from which the
next run knows what to begin with; groups that the report has not are left as they are.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from tests import schedule

ROOT = schedule.SECONDS.parents[1]


def seconds_of_tests(report: pathlib.Path) -> dict[str, float]:
    """Each test of a report by its ID, and what it took with all of its set-up."""
    found: dict[str, float] = collections.defaultdict(float)
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        if case.get("classname"):  # the test that an interrupt ended has no name
            file = case.get("classname", "").replace(".", "/") + ".py"
            found[f"{file}::{case.get('name')}"] += float(case.get("time", 0))
    return found


def is_there(group: str) -> bool:
    """Whether the file, or the folder, of a group is still there."""
    return (ROOT / group.partition(" ")[0].rstrip("*")).exists()


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the time of a test run went.")
    parser.add_argument("report", type=pathlib.Path, help="what `pytest --junit-xml` wrote")
    parser.add_argument("--top", type=int, default=25, help="how many files to print")
    parser.add_argument("--write", action="store_true", help="keep what the groups of tests took")
    options = parser.parse_args()
    tests = seconds_of_tests(options.report)
    files: dict[str, list[float]] = collections.defaultdict(list)
    for name, seconds in tests.items():
        files[name.partition("::")[0]].append(seconds)
    for file, parts in sorted(files.items(), key=lambda item: -sum(item[1]))[: options.top]:
        print(f"{sum(parts):8.1f} s {len(parts):5} tests  {file}")
    print(f"{sum(tests.values()):8.1f} s {len(tests):5} tests  in {len(files)} files")
    if options.write:
        groups: dict[str, float] = collections.defaultdict(float)
        for name, seconds in tests.items():
            groups[schedule.group(name)] += seconds
        known = {name: seconds for name, seconds in schedule.known_seconds().items() if is_there(name)}
        kept = {**known, **groups}
        lines = [f"{seconds:.0f} {name}" for name, seconds in sorted(kept.items()) if seconds >= 0.5]
        schedule.SECONDS.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
