# SPDX-License-Identifier: Apache-2.0
"""What tests of values share."""

from __future__ import annotations

from typing import Any


def same(one: Any, other: Any) -> bool:
    """Equality of values and of their types; NaN equals itself, and not None."""
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float) and one != one:
        return other != other
    return type(one) is type(other) and bool(one == other)
