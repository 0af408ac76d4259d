# SPDX-License-Identifier: Apache-2.0
"""Which metrics the dashboard and the alerts ask for."""

from __future__ import annotations

import pathlib
import re


def asked(file: pathlib.Path) -> set[str]:
    """Names of ours in its queries."""
    return set(re.findall(r"\bsparkmodel_\w+", file.read_text(encoding="utf-8")))
