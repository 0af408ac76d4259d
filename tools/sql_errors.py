# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/sql-errors.md again: runs the test that compares it, and has it write."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

TEST = "tests/integration/sql/test_wrong_uses.py"

if __name__ == "__main__":
    done = subprocess.run(
        [sys.executable, "-m", "pytest", TEST],
        cwd=pathlib.Path(__file__).parents[1],
        env={**os.environ, "SPARKMODEL_WRITE_PAGES": "1"},
        check=False,
    )
    sys.exit(done.returncode)
