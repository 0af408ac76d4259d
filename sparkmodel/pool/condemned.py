# SPDX-License-Identifier: Apache-2.0
"""Batches that are known to end their workers: all callers are told, so that nobody tries them again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable

from sparkmodel.wire.verdicts import Verdict

_MOST, _KEPT_S = 100, 3600.0

Dated = tuple[float, Verdict]


class Condemned:
    """The newest hundred, for an hour.

    Args:
        now: Gives the time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._lock = now, threading.Lock()
        self._verdicts: tuple[Dated, ...] = ()

    @property
    def all(self) -> tuple[Dated, ...]:
        """With the time of each, the oldest first."""
        return self._verdicts

    def of(self, versions: Collection[int]) -> tuple[Verdict, ...]:
        """Those about these versions."""
        return tuple(verdict for _, verdict in self._verdicts if verdict.version in versions)

    def add(self, verdict: Verdict) -> bool:
        """One more; False if it is known."""
        with self._lock:
            known = {(one.version, one.key) for _, one in self._verdicts}
            if (verdict.version, verdict.key) in known:
                return False
            self._verdicts = (*self._verdicts, (self._now(), verdict))[-_MOST:]
            return True

    def restore(self, verdicts: Iterable[Dated]) -> None:
        """Go on from what another master knew."""
        self._verdicts = tuple(verdicts)

    def forget(self, versions: Collection[int]) -> bool:
        """Drop what is old, and what is not about these versions; whether there was any."""
        with self._lock:
            before = self._verdicts
            since = self._now() - _KEPT_S
            self._verdicts = tuple(one for one in before if one[0] > since and one[1].version in versions)
            return len(before) != len(self._verdicts)
