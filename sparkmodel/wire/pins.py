# SPDX-License-Identifier: Apache-2.0
"""Which version each query of this process is held to, asked once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

_KEPT = 1000  # queries; one that is asked for again gets the same version from the master

Key = tuple[str, str]


class Pins:
    """Versions by query and digest. Safe for many threads: one of them asks, the others wait for what it hears."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._versions: OrderedDict[Key, int] = OrderedDict()
        self._asking: dict[Key, threading.Event] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def find(self, key: Key, ask: Callable[[], int], look: Callable[[], float]) -> int:
        """The version of a query.

        Args:
            key: The query and the digest.
            ask: Asks the master; called by one thread at a time for each key, again if it failed.
            look: Called while another thread asks: the seconds that are left for it, or raises.
        """
        while True:
            with self._lock:
                if key in self._versions:
                    self._versions.move_to_end(key)
                    return self._versions[key]
                asking = self._asking.get(key)
                if asking is None:
                    done = self._asking[key] = threading.Event()
                    break
            asking.wait(look())
        try:
            version = ask()
            with self._lock:
                self._versions[key] = version
                while len(self._versions) > self._kept:
                    self._versions.popitem(last=False)
            return version
        finally:
            with self._lock:
                del self._asking[key]
            done.set()
