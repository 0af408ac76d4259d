# SPDX-License-Identifier: Apache-2.0
"""What the master asks of the cluster: the contract that Ray's actors fulfil, and plain threads in unit tests."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sparkmodel.spec import ModelSpec
from sparkmodel.wire.service import Directory


class Member(Protocol):
    """A worker as its master sees it.

    `feature_names` are the columns that its model knows of itself, None where it knows none or is not loaded.

    `slot` is the reservation that it lives in: a version and its successor share one while the pool moves from
    the one to the other, so a swap needs memory for both but no second set of CPUs.
    """

    slot: Any
    endpoint: tuple[str, int]
    feature_names: tuple[str, ...] | None

    def publish(self, directory: Directory) -> None:
        """Send the newest directory, without waiting."""

    def stats(self) -> dict[str, Any]:
        """Its counters; an empty dict if it does not answer."""

    def close(self, drain_s: float) -> None:
        """Send callers elsewhere, let batches finish for `drain_s`, end the process."""


class Launcher(Protocol):
    """Places and starts workers."""

    def reserve(self, count: int, bundle: Mapping[str, float], timeout_s: float, stopped: threading.Event) -> list[Any]:
        """Reserve slots.

        Raises:
            PoolNotPlacedError: the cluster has no room.
            PoolGoneError: `stopped` was set meanwhile.
        """

    def release(self, slots: Sequence[Any]) -> None:
        """Give slots back."""

    def start(self, spec: ModelSpec, version: int, payload: Any, slot: Any) -> Member:
        """Begin to start a worker; it loads its model in the background."""

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
