# SPDX-License-Identifier: Apache-2.0
"""Ordinary statements of Spark SQL, which are none of ours."""

from __future__ import annotations

import pathlib

CORPUS = pathlib.Path(__file__).resolve().parents[3] / "corpus"


def statements(name: str) -> list[str]:
    """The statements of one file of tests/corpus."""
    found: list[str] = []
    for line in (CORPUS / name).read_text().splitlines():
        if line.startswith("  "):
            found[-1] += "\n" + line
        elif line and not line.startswith("--"):
            found.append(line)
    return found
