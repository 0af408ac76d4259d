# SPDX-License-Identifier: Apache-2.0
"""The workers that a change needs before it can be recorded, and the room for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sparkmodel.pool.core import Core
from sparkmodel.pool.generations import Generation
from sparkmodel.pool.healing import Healer
from sparkmodel.pool.intents import Intent
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.sizes import bounds, clamp
from sparkmodel.pool.turns import Turns


class Openings:
    """Starts workers for who has the turn.

    Args:
        core: The pool's state.
        healer: Starts workers again that had to make room in vain.
        turns: Says whether an intent may go on.

    Attributes:
        phase: How far a change is: `placing`, `loading`, `ready`, `failed`.
    """

    def __init__(self, core: Core, healer: Healer, turns: Turns) -> None:
        self.phase = "placing"
        self._core, self._crew, self._healer, self._turns = core, core.crew, healer, turns

    def count(self, generation: Generation, traffic: float | None = None) -> int:
        """How many workers a version is to begin with: as many as the current one has, or a canary's share of them."""
        current = self._core.record.current
        workers = generation.spec.options.workers
        wanted = bounds(workers)[0] if current is None else self._crew.wanted.get(current.version, 0)
        if current is not None and current.spec.options.workers != workers:
            wanted = bounds(workers)[0]
        wanted = max(1, clamp(wanted, workers))  # one at least shows that the model can be loaded
        return wanted if traffic is None or current is None else max(1, math.ceil(wanted * traffic))

    def start(self, intent: Intent, generation: Generation, count: int) -> list[Member]:
        """Start workers that nobody knows of yet; with `stop_first` in the place of the current version's.

        Raises:
            SparkModelError: they do not serve; `resume` brings back what had to make room.
        """
        core, crew = self._core, self._crew

        def step(name: str) -> None:
            if name == "reserved":
                self.phase = "loading"
            core.step(name)
            self._turns.check(intent)

        slots: list[Any] = []
        if intent.stop_first and intent.traffic is None:
            slots = self._make_room(generation)
        timeout_s = self._turns.left_s(intent, generation.spec.options.ready_timeout_s)
        try:
            members = crew.hire(generation, count, timeout_s, slots, step)
        except BaseException:
            self._return_room(generation.version, slots)
            self._turns.check(intent)  # if it was cancelled meanwhile, that is why
            raise
        crew.slots.give_back(generation.version, slots[count:])
        return members

    def _make_room(self, generation: Generation) -> list[Any]:
        """End the workers of the current version; their slots are for the next, if they fit."""
        core, crew = self._core, self._crew
        current = core.record.current
        if current is None:
            return []
        with core.lock:
            core.paused.add(current.version)
            slots = crew.slots.share(generation.version, generation.spec.options.bundle, current.version)
            leaving = crew.leave(current.version, 0)
            core.publish()
        crew.end(leaving, current.spec.options.timeout_s)
        return slots

    def _return_room(self, version: int, slots: Sequence[Any]) -> None:
        current = self._core.record.current
        if slots and current is not None:
            with self._core.lock:
                for slot in slots:
                    self._crew.slots.keep(current.version, slot, current.spec.options.bundle)
                self._crew.vacant.setdefault(current.version, []).extend(slots)
            self._crew.slots.give_back(version, slots)

    def resume(self) -> None:
        """Have the current version's workers started again, where they had made room in vain."""
        with self._core.lock:
            self._core.paused.clear()
            self._healer.fill()
