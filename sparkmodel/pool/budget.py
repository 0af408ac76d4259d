# SPDX-License-Identifier: Apache-2.0
"""How soon a dead worker may be replaced."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class RestartBudget:
    """Restarts at once while they are rare, and with a growing pause when they are not.

    Ray's `max_restarts` counts over an actor's whole life: unbounded it hides a model that cannot live, bounded it
    runs out on a pool that lives long. This budget forgets.

    Args:
        burst: Restarts within the window that happen at once.
        window_s: Length of the sliding window.
        max_pause_s: Longest pause before a restart.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        burst: int = 5,
        window_s: float = 60.0,
        max_pause_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst, self._window_s, self._max_pause_s = burst, window_s, max_pause_s
        self._clock = clock
        self._restarts: deque[float] = deque()

    def take(self) -> float:
        """Note one restart; returns the seconds to wait before it."""
        now = self._clock()
        while self._restarts and self._restarts[0] <= now - self._window_s:
            self._restarts.popleft()
        self._restarts.append(now)
        excess = len(self._restarts) - self._burst
        return 0.0 if excess <= 0 else min(self._max_pause_s, 0.5 * 2.0**excess)
