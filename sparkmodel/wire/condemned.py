# SPDX-License-Identifier: Apache-2.0
"""The batches that a client knows to end their workers: from the directory, and by itself."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from sparkmodel.wire.verdicts import Verdict

_KEPT = 100
_KEPT_S = 3600.0

_Size = tuple[int, int, int]  # version, rows, bytes


class Condemned:
    """Verdicts by size, so that most batches need no hash to be told from them. Safe for many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._own: OrderedDict[tuple[int, str], tuple[float, Verdict]] = OrderedDict()
        self._told: tuple[Verdict, ...] = ()
        self._sizes: dict[_Size, list[Verdict]] = {}

    def add(self, verdict: Verdict) -> None:
        """Remember one that this client came to by itself."""
        with self._lock:
            self._own[verdict.version, verdict.key] = self._clock(), verdict
            while len(self._own) > _KEPT:
                self._own.popitem(last=False)
            self._index()

    def find(
        self, told: tuple[Verdict, ...], version: int | None, rows: int, size: int, key: Callable[[], str]
    ) -> Verdict | None:
        """The verdict on a batch, None if there is none.

        Args:
            told: Those of the newest directory.
            version: That would get the batch.
            rows: Of the batch.
            size: Of its message, in bytes.
            key: Gives the batch's key; called only if some verdict is on a batch of this size.
        """
        if told is not self._told:
            with self._lock:
                self._told = told
                self._index()
        if version is None or not self._sizes:
            return None
        alike = self._sizes.get((version, rows, size))
        if not alike:
            return None
        mine = key()
        found = next((verdict for verdict in alike if verdict.key == mine), None)
        if found is not None and self._is_old(found):
            return None
        return found

    def _is_old(self, verdict: Verdict) -> bool:
        """Whether it is one of ours that has been kept long enough; forgotten then."""
        with self._lock:
            made, _ = self._own.get((verdict.version, verdict.key), (self._clock(), verdict))
            if verdict in self._told or self._clock() - made < _KEPT_S:
                return False
            del self._own[verdict.version, verdict.key]
            self._index()
            return True

    def _index(self) -> None:
        sizes: dict[_Size, list[Verdict]] = {}
        own: Iterable[Verdict] = (verdict for _, verdict in self._own.values())
        for verdict in (*self._told, *own):
            sizes.setdefault((verdict.version, verdict.rows, verdict.bytes), []).append(verdict)
        self._sizes = sizes
