# SPDX-License-Identifier: Apache-2.0
"""What a check says."""

from __future__ import annotations

import dataclasses

OK, WARN, FAIL = "ok", "warn", "fail"
HERE = "here"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: Name of what was looked at.
        status: `ok`; `warn`, what works but may not for long, or is open to others; `fail`, what does not work.
        fact: What was seen.
        hint: One thing to do; empty where there is nothing.
        place: Where: `here`, an executor or a node.
    """

    check: str
    status: str
    fact: str
    hint: str = ""
    place: str = HERE


def worst(findings: list[Finding]) -> str:
    """The status of all of them together."""
    return max((finding.status for finding in findings), key=(OK, WARN, FAIL).index, default=OK)
