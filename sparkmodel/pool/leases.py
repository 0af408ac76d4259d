# SPDX-License-Identifier: Apache-2.0
"""Which version each query was given. Workers know it too, and tell the next master."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

LEASE_S = 10.0  # a query that asked for nothing for so long has ended, as far as its workers are kept for it
_KEEP_S, _MOST = 86_400.0, 10_000


class Assignments:
    """Query to version, for a day. A query has several versions only where its plans do not go with one.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._given: OrderedDict[str, tuple[float, tuple[int, ...]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._given)

    def of(self, query: str) -> tuple[int, ...]:
        """The versions that a query was given; none if it is new, or too old."""
        if query not in self._given:
            return ()
        _, versions = self._given[query]
        self._note(query, versions)
        return versions

    def add(self, query: str, version: int) -> None:
        """Note that a query is held to a version."""
        versions = self.of(query)
        self._note(query, versions if version in versions else (*versions, version))

    def expire(self, version: int) -> None:
        """Those who were held to a version have had their time: what is left of them is told so, by a number < 0."""
        for query, (when, versions) in self._given.items():
            self._given[query] = (when, tuple(-v if v == version else v for v in versions))

    def _note(self, query: str, versions: tuple[int, ...]) -> None:
        now = self._clock()
        self._given[query] = (now, versions)
        self._given.move_to_end(query)
        while len(self._given) > _MOST or next(iter(self._given.values()))[0] < now - _KEEP_S:
            self._given.popitem(last=False)
