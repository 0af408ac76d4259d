# SPDX-License-Identifier: Apache-2.0
"""One change of a pool at a time, each within the time that who asked has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sparkmodel.errors import ControlTimeoutError
from sparkmodel.pool.core import Core
from sparkmodel.pool.intents import Applied, Intent

_LOOK_S = 0.2


class Turns:
    """Knows which intents wait or are under way.

    Args:
        core: The pool's state.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._under_way: dict[str, int] = {}
        self._cancelled: set[str] = set()

    def outcome(self, intent_id: str) -> Applied | None:
        """What an intent has led to, waiting for one that is under way; None for one that was not done."""
        with self._core.lock:
            while intent_id in self._under_way:
                self._core.lock.wait(_LOOK_S)
            return self._core.record.applied.get(intent_id)

    def cancel(self, intent_id: str) -> None:
        """Have an intent under way end undone, unless it is recorded already: who asked has gone."""
        with self._core.lock:
            if intent_id not in self._under_way:
                return
            self._cancelled.add(intent_id)
            loading = list(self._core.crew.loading)
        for member in loading:  # replacements are among them: they are started again
            member.close(0.0)

    @contextlib.contextmanager
    def turn(self, intent: Intent) -> Iterator[None]:
        """Wait for the turn of an intent, and hold it."""
        core = self._core
        with core.lock:
            self._under_way[intent.id] = self._under_way.get(intent.id, 0) + 1
        try:
            while not core.change.acquire(timeout=_LOOK_S):
                self.check(intent)
            try:
                yield
            finally:
                core.change.release()
        finally:
            with core.lock:
                self._under_way[intent.id] -= 1
                if not self._under_way[intent.id]:
                    del self._under_way[intent.id]
                    self._cancelled.discard(intent.id)
                core.lock.notify_all()

    def check(self, intent: Intent) -> None:
        """Raise if an intent must not go on.

        Raises:
            ControlTimeoutError: its time has passed, or who asked has gone.
            PoolGoneError: the pool was dropped.
        """
        self._core.crew.check_alive()
        if intent.id in self._cancelled or self._core.now() > intent.not_after:
            raise ControlTimeoutError(
                f"Cannot change model '{self._core.name}'",
                "it could not be done in the time that there was for it; the pool is as it was",
                "ask again, with more time",
            )

    def left_s(self, intent: Intent, most_s: float) -> float:
        """How long something that an intent needs may take."""
        return max(0.0, min(most_s, intent.not_after - self._core.now()))
