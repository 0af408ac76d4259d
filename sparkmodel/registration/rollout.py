# SPDX-License-Identifier: Apache-2.0
"""How a pool goes from one version to the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sparkmodel.errors import InvalidOptionError, suggest
from sparkmodel.options import MOST_S, is_number
from sparkmodel.pool.intents import UNTIL_DONE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollout:
    """How a pool goes from one version to the next. The names are those of `Model.update`, and of SQL's options.

    Attributes:
        traffic: Share of the queries, 0 to 1, that the new version gets as a canary; None is all, at once.
        max_error_rate: Share of a canary's batches that may fail before it is rolled back by itself.
        keep_old: How long queries that have begun may keep the version before: seconds, or `until_done`.
        allow_new_inputs: Whether inputs and result may be others than plans of before were made for.
        stop_first: End the old version's workers before the new one's start.

    Raises:
        InvalidOptionError: a value is out of range, or two do not go together.
    """

    traffic: float | None = None
    max_error_rate: float | None = None
    keep_old: float | str = UNTIL_DONE
    allow_new_inputs: bool = False
    stop_first: bool = False

    def __post_init__(self) -> None:
        for key in ("traffic", "max_error_rate"):
            value = getattr(self, key)
            if value is not None and not is_number(value, 0, 1):
                raise _invalid(key, f"{value!r} is not a number from 0 to 1", "0.05 is one query of twenty")
        if self.keep_old != UNTIL_DONE and not is_number(self.keep_old, 0, MOST_S):
            raise _invalid(
                "keep_old",
                f"{self.keep_old!r} is neither '{UNTIL_DONE}' nor a number of seconds of at least 0, "
                f"at most {MOST_S:,.0f}",
                f"'{UNTIL_DONE}' lets each query end with the version that it began with",
            )
        for key in ("allow_new_inputs", "stop_first"):
            if not isinstance(getattr(self, key), bool):
                raise _invalid(key, f"{getattr(self, key)!r} is not True or False")
        if self.traffic is None:
            if self.max_error_rate is not None:
                raise _invalid("max_error_rate", "only a canary is rolled back by itself", "give traffic too")
            return
        if self.stop_first:
            raise _invalid("stop_first", "a canary serves beside the old version", "leave traffic out")
        if self.allow_new_inputs:
            raise _invalid(
                "allow_new_inputs", "a canary gets the queries of the plans that are there", "leave traffic out"
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Rollout:
        """From keyword arguments.

        Raises:
            InvalidOptionError: one is unknown or out of range.
        """
        for key in given:
            if key not in NAMES:
                raise _invalid(key, "an update has no such option", suggest(key, NAMES))
        return cls(**given)

    def fields(self) -> dict[str, Any]:
        """The same as fields of an `Intent`."""
        return dataclasses.asdict(self)


NAMES = tuple(field.name for field in dataclasses.fields(Rollout))
AT_ONCE = Rollout()


def _invalid(key: str, fact: str, hint: str = "") -> InvalidOptionError:
    return InvalidOptionError(f"Cannot use option '{key}'", fact, hint)
