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
        timeout_s: Longest time in the model for one batch.
        ready_timeout_s: Longest wait for a pool whose workers are all being replaced, or start for this call.
    """

    max_in_flight: int = 2
    max_retries: int = 3
    timeout_s: float = 60.0
    ready_timeout_s: float = 300.0

    @staticmethod
    def of(options: PoolOptions) -> Limits:
        """Those that a pool is set to."""
        return Limits(**{name: getattr(options, name) for name in NAMES})

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Limits:
        """The limits in a message."""
        return Limits(**{name: value[name] for name in NAMES})


NAMES = tuple(field.name for field in dataclasses.fields(Limits))
DEFAULT_LIMITS = Limits()
