# SPDX-License-Identifier: Apache-2.0
"""Which tests of a run in several processes stay together, and which come first.

A group is one process's from its first test to its last, so what the group shares is made once. A process that runs
out of work takes the group that took longest when it was last measured: the short ones are left for the end, and all
processes have something to do until then.
"""

from __future__ import annotations

import pathlib
import re

from xdist.scheduler import LoadScopeScheduling

SECONDS = pathlib.Path(__file__).with_name("seconds.txt")
NEW_S = 100.0  # a group that was never measured comes before the small ones

# Files that share fixtures of their package. Of all others, each file is a group.
TOGETHER = {
    "tests/integration/planner/": ("test_rows_scored.py", "test_same_results.py"),
    "tests/integration/sql/": ("test_access.py", "test_calls.py", "test_wrong_uses.py"),
}
# Long files whose tests share nothing but the session: each test is a group, or all tests of one parameter.
APART = {
    "tests/conformance/test_conformance.py": re.compile(r"\[(.*)\]"),
    "tests/integration/test_docs.py": re.compile(r"::(test_sql_blocks_run|test_python_blocks_run.*)"),
    "tests/integration/test_lifecycle.py": re.compile(r"::(.*)"),
    "tests/integration/test_notebooks.py": re.compile(r"::(.*)"),
}


def group(test: str) -> str:
    """The name of a test's group."""
    file, _, _ = test.partition("::")
    for folder, names in TOGETHER.items():
        if file.startswith(folder) and file.removeprefix(folder) in names:
            return f"{folder}*"
    found = APART[file].search(test) if file in APART else None
    return f"{file} {found[1]}" if found else file


def known_seconds() -> dict[str, float]:
    """What each group took; `tools/slow_modules.py` writes it."""
    lines = SECONDS.read_text().splitlines() if SECONDS.exists() else []
    return {name: float(seconds) for seconds, name in (line.split(" ", 1) for line in lines)}


class LongestFirst(LoadScopeScheduling):
    """Hands out groups, the longest first."""

    def schedule(self) -> None:
        self._seconds = known_seconds()
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def _assign_work_unit(self, node: object) -> None:
        longest = max(self.workqueue, key=lambda name: self._seconds.get(name, NEW_S))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)
