# SPDX-License-Identifier: Apache-2.0
"""Makes the table of `docs/reliability.md`: runs every test that proves a fault, and writes what became of it.

    python -m tests.reliability [--names] [arguments of pytest]

With `--names` no test is run: after a test was marked or renamed, the page names it. `pytest --write-reliability`
writes the page at the end of any other run.
"""

from __future__ import annotations

import subprocess
import sys

from tests import faults


def main(arguments: list[str]) -> int:
    """The command line."""
    if arguments == ["--names"]:
        faults.write({})
        return 0
    tests = sorted({test for ids in faults.marked().values() for test in ids})
    return subprocess.call([sys.executable, "-m", "pytest", "--write-reliability", *arguments, *tests], cwd=faults.ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
