# SPDX-License-Identifier: Apache-2.0
"""The reservations of a pool, and which versions' workers live in each."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from sparkmodel.errors import PoolGoneError
from sparkmodel.pool.launcher import Launcher


@dataclasses.dataclass(eq=False)
class _Held:
    slot: Any
    bundle: Mapping[str, float]
    users: list[int]  # versions; one may be there only once


class Slots:
    """Hands out slots. One without GPUs is shared by workers of several versions, but not by two of one.

    So a version and its successor, or a canary, need memory for both but no second set of CPUs: together they have
    the work of one. A GPU has no memory for both.

    Args:
        launcher: Makes and ends reservations.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._lock = threading.Lock()
        self._held: list[_Held] = []
        self._is_closed = False

    @property
    def all(self) -> list[Any]:
        """Those that are reserved."""
        with self._lock:
            return [held.slot for held in self._held]

    def take(
        self, version: int, bundle: Mapping[str, float], count: int, timeout_s: float, stopped: threading.Event
    ) -> list[Any]:
        """Slots for new workers of a version: those that others leave room in, and fresh ones.

        Raises:
            PoolNotPlacedError: the cluster has no room.
            PoolGoneError: the pool was stopped meanwhile.
        """
        if count <= 0:
            return []
        shared: list[Any] = []
        with self._lock:
            if not bundle.get("GPU"):
                for held in sorted(self._held, key=lambda held: len(held.users)):
                    if len(shared) < count and held.bundle == bundle and version not in held.users:
                        held.users.append(version)
                        shared.append(held.slot)
        try:
            missing = count - len(shared)
            fresh = self._launcher.reserve(missing, bundle, timeout_s, stopped) if missing else []
        except BaseException:
            self.give_back(version, shared)
            raise
        with self._lock:
            if not self._is_closed:
                self._held += [_Held(slot, bundle, [version]) for slot in fresh]
                return shared + list(fresh)
        self._launcher.release(fresh)
        raise PoolGoneError("Cannot place workers", "the pool was dropped meanwhile")

    def share(self, version: int, bundle: Mapping[str, float], of: int) -> list[Any]:
        """Have a version live in another one's slots, whatever is in them: for when that one has to make room."""
        with self._lock:
            found = [
                held for held in self._held if of in held.users and version not in held.users and held.bundle == bundle
            ]
            for held in found:
                held.users.append(version)
            return [held.slot for held in found]

    def keep(self, version: int, slot: Any, bundle: Mapping[str, float]) -> None:
        """Note a slot that a worker was found in."""
        with self._lock:
            for held in self._held:
                if held.slot == slot:
                    held.users.append(version)
                    return
            self._held.append(_Held(slot, bundle, [version]))

    def give_back(self, version: int, slots: Sequence[Any]) -> None:
        """A version does not need them any more; what nobody needs is released."""
        with self._lock:
            for held in self._held:
                if held.slot in slots and version in held.users:
                    held.users.remove(version)
            unused = [held.slot for held in self._held if not held.users]
            self._held = [held for held in self._held if held.users]
        if unused:
            self._launcher.release(unused)

    def close(self) -> None:
        """Release all, now and from now on."""
        with self._lock:
            self._is_closed = True
            slots, self._held = [held.slot for held in self._held], []
        self._launcher.release(slots)
