# SPDX-License-Identifier: Apache-2.0
"""When which fault comes in a run of chaos: a pure function of the seed, so that a run can be had again."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

GAP_S = (3.0, 9.0)  # between the beginnings of two faults
LAST_S = (3.0, 10.0)  # how long a fault lasts that has an end


@dataclasses.dataclass(frozen=True)
class Event:
    """One fault.

    Attributes:
        at_s: Seconds after the beginning of the run.
        kind: Its name.
        pick: From 0 to below 1: which of those that can be hit then, in their order.
        last_s: Seconds until it is over, if it is of a kind that has an end.
    """

    at_s: float
    kind: str
    pick: float
    last_s: float

    def of(self, targets: Sequence[int]) -> int:
        """Which is hit."""
        return targets[int(self.pick * len(targets))]


def events(seed: int, seconds: float, kinds: Sequence[str]) -> list[Event]:
    """The faults of a run. Each kind comes once before any comes again, so that short runs have most of them."""
    rng = random.Random(seed)
    made: list[Event] = []
    bag: list[str] = []
    at_s = rng.uniform(1.0, 3.0)
    while at_s < seconds:
        if not bag:
            bag = list(kinds)
            rng.shuffle(bag)
        made.append(Event(round(at_s, 2), bag.pop(), rng.random(), round(rng.uniform(*LAST_S), 1)))
        at_s += rng.uniform(*GAP_S)
    return made
