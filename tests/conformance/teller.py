# SPDX-License-Identifier: Apache-2.0
"""A model that tells, for each row, exactly what it was given."""

from __future__ import annotations

import sys
from typing import Any

import cloudpickle
import pandas as pd

cloudpickle.register_pickle_by_value(sys.modules[__name__])

NAMES = ["size", "count", "kind"]
POISON = "poison"


def tell(frame: pd.DataFrame) -> list[str | None]:
    """All bits of a row as text: None for a row of NULLs; raises for a poisoned row and for a size that is text."""
    return [_row(*values) for values in zip(*[frame[name] for name in NAMES], strict=True)]


tell.feature_names_in_ = NAMES  # type: ignore[attr-defined]


def _row(size: Any, count: Any, kind: Any) -> str | None:
    if kind == POISON:
        raise ValueError("a poisoned row")
    parts = [
        None if pd.isna(size) else float(size).hex(),
        None if pd.isna(count) else int(count),
        None if pd.isna(kind) else str(kind),
    ]
    return None if parts == [None] * 3 else repr(parts)


class Teller:
    """The same as an object."""

    feature_names_in_ = NAMES

    def predict(self, frame: pd.DataFrame) -> list[str | None]:
        return tell(frame)


def load() -> Teller:
    """The first half of a pair."""
    return Teller()


def predict(model: Teller, frame: pd.DataFrame) -> list[str | None]:
    """The second half."""
    return model.predict(frame)
