# SPDX-License-Identifier: Apache-2.0
"""How much and how long a caller asks of a pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparkmodel.options import PoolOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How much and how long a caller asks of a pool.

    Attributes:
        max_in_flight: Batches sent and not answered, for each caller.
        max_retries: Times a batch may lose its worker and go to another.
        timeout_s: Longest time of one call of the model.
        ready_timeout_s: Longest wait for a pool whose workers are all being replaced, or start for this call.
        on_error: What becomes of rows at fault where a call does not say: `fail`, `null` or `struct`.
        bisect_calls: Messages that the search for such rows in one batch may send.
        bisect_s: Seconds that it may take.
    """

    max_in_flight: int = 2
    max_retries: int = 3
    timeout_s: float = 60.0
    ready_timeout_s: float = 300.0
    on_error: str = "fail"
    bisect_calls: int = 10_000
    bisect_s: float = 600.0

    @staticmethod
    def of(options: PoolOptions) -> Limits:
        """Those that a pool is set to."""
        return Limits(**{name: getattr(options, name) for name in NAMES if hasattr(options, name)})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, without what is not told as a rule."""
        told = dataclasses.asdict(self)
        return {name: value for name, value in told.items() if name in _TOLD or value != getattr(DEFAULT_LIMITS, name)}

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Limits:
        """The limits in a message, which need not say what is done about rows at fault."""
        for name in _TOLD:
            if name not in value:
                raise KeyError(name)
        return Limits(**{name: value[name] for name in NAMES if name in value})


NAMES = tuple(field.name for field in dataclasses.fields(Limits))
_TOLD = ("max_in_flight", "max_retries", "timeout_s", "ready_timeout_s")
DEFAULT_LIMITS = Limits()
