# SPDX-License-Identifier: Apache-2.0
"""Asks that many callers have at the same time, and one of them makes for all."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

from sparkmodel.errors import AuthenticationError

_FRESH_S = 0.25  # an answer serves those who ask so soon after it

Key = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Said:
    """What came of asking the master, and the workers if it did not answer.

    Attributes:
        version: That the master named; None if it was not reached.
        refused: Why it let nobody in, if it did not.
        heard: When somebody of the pool answered last, by the monotonic clock; None if nobody did.
    """

    version: int | None = None
    refused: AuthenticationError | None = None
    heard: float | None = None


class Rounds:
    """What was said last, by query and digest: a pool that is down is not asked by each of its callers at once.

    Safe for many threads: one of them asks, the others wait for what it hears.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._said: dict[Key, tuple[float, Said]] = {}
        self._asking: dict[Key, threading.Event] = {}

    def of(self, key: Key, ask: Callable[[], Said], wait_s: float) -> Said:
        """What is said now.

        Args:
            key: The query and the digest.
            ask: Asks; if it raises, that is for its caller alone, and another one asks.
            wait_s: Longest wait for what another caller hears.
        """
        until = self._clock() + wait_s
        while True:
            with self._lock:
                at, said = self._said.get(key, (0.0, Said()))
                if key in self._said and self._clock() - at < _FRESH_S:
                    return said
                asking = self._asking.get(key)
                if asking is None:
                    done = self._asking[key] = threading.Event()
                    break
            if not asking.wait(until - self._clock()):
                return Said(heard=self._clock())
        try:
            said = ask()
            with self._lock:
                now = self._clock()
                fresh = {other: (at, old) for other, (at, old) in self._said.items() if now - at < _FRESH_S}
                self._said = {**fresh, key: (now, said)}
            return said
        finally:
            with self._lock:
                del self._asking[key]
            done.set()
