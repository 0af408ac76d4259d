# SPDX-License-Identifier: Apache-2.0
"""How long a worker has a batch in its model, as it tells it itself: a client that is new need not find out anew."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

_LAST = 3  # batches whose least is told: one that was large, or came at a bad moment, says nothing bad of its worker


@dataclasses.dataclass(frozen=True)
class Told:
    """What a worker says of its own speed.

    Attributes:
        seconds: That a batch is in its model.
        age_s: How long ago the last one was answered.
    """

    seconds: float
    age_s: float

    def to_dict(self) -> dict[str, int]:
        """The keys in a greeting."""
        return {"batch_us": int(self.seconds * 1e6), "batch_age_ms": int(self.age_s * 1e3)}

    @staticmethod
    def from_dict(greeting: dict[str, Any]) -> Told | None:
        """What a greeting says, None if it says nothing."""
        if greeting.get("batch_us") is None:
            return None
        return Told(int(greeting["batch_us"]) / 1e6, int(greeting.get("batch_age_ms", 0)) / 1e3)


class Pace:
    """The worker's side. Safe for many threads.

    The first batch of all is left out: a model may load or compile something for it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._last: deque[float] = deque(maxlen=_LAST)
        self._is_warm, self._learned = False, 0.0

    def add(self, seconds: float) -> None:
        """Note how long a batch was in the model."""
        with self._lock:
            if self._is_warm:
                self._last.append(seconds)
                self._learned = self._clock()
            self._is_warm = True

    def told(self) -> Told | None:
        """What callers are told; None where nothing is known."""
        with self._lock:
            return Told(min(self._last), self._clock() - self._learned) if self._last else None
