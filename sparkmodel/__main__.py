# SPDX-License-Identifier: Apache-2.0
"""`python -m sparkmodel` is the command `sparkmodel`."""

from __future__ import annotations

import sys

from sparkmodel.cli import main

if __name__ == "__main__":
    sys.exit(main())
