# SPDX-License-Identifier: Apache-2.0
"""What the master asks of the cluster: the contract that Ray's actors fulfil, and plain threads in unit tests."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sparkmodel.pool.ends import End
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.verdicts import Fate


class Member(Protocol):
    """A worker as its master sees it. It outlives its master: the next one finds it by `Launcher.adopt`.

    Attributes:
        version: What it serves.
        slot: The reservation that it lives in: a version and its successor share one while the pool moves from the
            one to the other, so a swap needs memory for both but no second set of CPUs. Slots can be compared.
        endpoint: Where it serves, once it does.
        feature_names: The columns that its model knows of itself, None where it knows none or is not loaded.
        state: As who watches it on its host has it, or `lost` if nothing was heard of that host for a while.
    """

    version: int
    slot: Any
    endpoint: tuple[str, int]
    feature_names: tuple[str, ...] | None

    @property
    def state(self) -> str:
        """See above."""

    def fate(self, session: int, seq: int) -> Fate:
        """What became of a batch that it had; waits for 2 s at most."""

    def ended(self) -> End | None:
        """How it ended; None if it has not, or nobody knows."""

    def publish(self, directory: Directory) -> None:
        """Send the newest directory, without waiting."""

    def configure(self, spec: ModelSpec) -> None:
        """Have it take the limits of a spec that differs in nothing that it would have to load anew; waits."""

    def hold(self, query: str) -> bool:
        """Have it know that a query is held to its version; waits. False if it does not answer."""

    def leases(self) -> dict[str, float]:
        """Queries that are held to its version, with the seconds since each was last active (0 while it is); waits.

        Empty if it does not answer.
        """

    def stats(self) -> dict[str, Any]:
        """Its counters; an empty dict if it does not answer."""

    def close(self, drain_s: float) -> dict[str, Any]:
        """Send callers elsewhere, let batches finish for `drain_s`, end the process. Returns when it has ended.

        Returns:
            Its counters when the last batch was finished; an empty dict if it did not answer.
        """


class Launcher(Protocol):
    """Places and starts workers of one pool."""

    def reserve(self, count: int, bundle: Mapping[str, float], timeout_s: float, stopped: threading.Event) -> list[Any]:
        """Reserve slots, by names from which it can be seen whose they are.

        Raises:
            PoolNotPlacedError: the cluster has no room.
            PoolGoneError: `stopped` was set meanwhile.
        """

    def release(self, slots: Sequence[Any]) -> None:
        """Give slots back."""

    def keep(self, payload: Any) -> str:
        """Keep what was shipped for as long as the pool lives, whoever shipped it; the key is for `start`."""

    def forget(self, key: str) -> None:
        """It is not needed any more."""

    def start(self, spec: ModelSpec, version: int, payload: str, slot: Any) -> Member:
        """Begin to start a worker; it loads its model in the background.

        Args:
            spec: What it serves.
            version: The number of it.
            payload: The key of what was shipped; empty for nothing.
            slot: One of `reserve`.
        """

    def join(self, members: Sequence[Member], timeout_s: float) -> None:
        """Wait until all members serve.

        Raises:
            ModelLoadError, ModelProbeError: the model's fault.
            PoolNotReadyError: not within the time, or a worker died meanwhile.
        """

    def progress(self, members: Sequence[Member]) -> int:
        """How many members serve already."""

    def wait_dead(self, members: Sequence[Member], timeout_s: float) -> list[Member]:
        """The members that died; waits for the first one at most `timeout_s`."""

    def adopt(self) -> list[Member]:
        """The workers of this pool that serve, though their master has gone; those that were loading are ended."""

    def sweep(self, slots: Sequence[Any]) -> None:
        """Give back all reservations of this pool but these."""


class Store(Protocol):
    """Keeps the record of one pool: small, and durable as long as the pool is."""

    def save(self, record: bytes) -> None:
        """Replace it. When this returns, the next master finds it."""

    def load(self) -> bytes | None:
        """The newest, None if there is none."""
