# SPDX-License-Identifier: Apache-2.0
"""What the process that holds Ray and those that ask it both know; nothing here imports Ray."""

from __future__ import annotations

from typing import Any

from sparkmodel.errors import InvalidOptionError, NameTakenError

NAMESPACE = "sparkmodel"
SPARES = 1


def check_spares(spares: Any) -> int:
    """The number, if it is one."""
    if not isinstance(spares, int) or isinstance(spares, bool) or spares < 0:
        raise InvalidOptionError("Cannot use option 'spares'", f"{spares!r} is not a whole number of at least 0")
    return spares


def name_taken(name: str) -> NameTakenError:
    """The error of who wants a name that a pool has."""
    return NameTakenError(
        f"Cannot register model '{name}'",
        "a pool of that name is serving",
        "pass replace=True to move it to this source, or call sm.unregister first",
    )
