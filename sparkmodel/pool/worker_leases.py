# SPDX-License-Identifier: Apache-2.0
"""Which queries a worker knows to be held to its version, and when each was last active."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

_KEEP_S, _MOST = 86_400.0, 10_000


class Leases:
    """Queries by the time of their last batch.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._inside: dict[str, int] = {}

    def touch(self, query: str) -> None:
        """The query is active."""
        with self._lock:
            now = self._clock()
            self._seen[query] = now
            self._seen.move_to_end(query)
            while len(self._seen) > _MOST or next(iter(self._seen.values())) < now - _KEEP_S:
                self._seen.popitem(last=False)

    @contextlib.contextmanager
    def active(self, query: str | None) -> Iterator[None]:
        """The query is active for as long as this is entered; None is no query."""
        if not query:
            yield
            return
        with self._lock:
            self._inside[query] = self._inside.get(query, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._inside[query] -= 1
                if not self._inside[query]:
                    del self._inside[query]
            self.touch(query)

    def read(self) -> dict[str, float]:
        """Each query with the seconds since it was active; 0 for one that is."""
        with self._lock:
            now = self._clock()
            return {**{query: now - seen for query, seen in self._seen.items()}, **dict.fromkeys(self._inside, 0.0)}
