# SPDX-License-Identifier: Apache-2.0
"""How many workers a pool has: bounds that were asked for, and what their load says between them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from sparkmodel.pool.intents import Workers

_LONG_S = 0.5  # a batch that waits for so long wants another worker
_QUEUE = 0.5  # so many batches that wait for each worker, on the average, want another one
_BUSY = 0.7  # share of their time that one worker less would have to work at most
_LOOKS = 2  # in a row that say more is wanted: one batch that waits is no load


def bounds(workers: Workers) -> tuple[int, int]:
    """Least and most workers."""
    return (workers, workers) if isinstance(workers, int) else (workers[0], workers[1])


def clamp(count: int, workers: Workers) -> int:
    """The nearest number of workers within the bounds."""
    low, high = bounds(workers)
    return max(low, min(high, count))


@dataclasses.dataclass(frozen=True)
class Load:
    """What all workers of a version say at one time.

    Attributes:
        time: Of the look, in seconds.
        workers: That serve.
        waited_s: Seconds that batches have waited, all together, ever.
        busy_s: Seconds that models have worked, ever.
        batches: Batches that were answered, also by errors, ever.
        queued: Batches that wait or are in a model now.
        oldest_s: How long the one that waits longest now has waited.
    """

    time: float
    workers: int
    waited_s: float
    busy_s: float
    batches: float
    queued: float
    oldest_s: float

    @staticmethod
    def of(time: float, stats: Sequence[dict[str, Any]]) -> Load:
        """From the counters of workers."""

        def total(key: str) -> float:
            return float(sum(one.get(key, 0) for one in stats))

        return Load(
            time,
            len(stats),
            total("wait_s"),
            total("predict_s"),
            total("batches") + total("errors"),
            total("queued"),
            max((float(one.get("oldest_wait_s", 0.0)) for one in stats), default=0.0),
        )


class Autoscaler:
    """Follows the time that batches wait: up soon, down late, so that it does not swing.

    Up after two looks in a row at which batches wait; down by one after `idle_s` in which one worker less would have
    done; to none after `idle_s` without a batch.
    """

    def __init__(self) -> None:
        self._last: Load | None = None
        self._pressed = 0
        self._calm_since: float | None = None
        self.active_at: float | None = None

    def decide(self, load: Load, wanted: int, workers: Workers, idle_s: float, width: int = 1) -> int:
        """How many workers are wanted now.

        Args:
            load: Now.
            wanted: Until now.
            workers: The bounds.
            idle_s: How long a worker too many is kept.
            width: Batches that one worker takes at a time.
        """
        last, self._last = self._last, load
        is_active = load.queued > 0 or last is None or load.batches != last.batches
        if is_active or self.active_at is None:
            self.active_at = load.time
        if last is None or load.time <= last.time or load.workers != last.workers or load.waited_s < last.waited_s:
            return clamp(wanted, workers)  # sums of different workers say nothing
        seconds = load.time - last.time
        queue = (load.waited_s - last.waited_s) / seconds
        busy = (load.busy_s - last.busy_s) / seconds
        is_pressed = load.oldest_s >= _LONG_S or queue >= _QUEUE * max(1, load.workers)
        self._pressed = self._pressed + 1 if is_pressed else 0
        if self._pressed >= _LOOKS:
            self._pressed, self._calm_since = 0, None
            return clamp(wanted + max(1, min(wanted, math.floor(queue / width))), workers)
        if is_pressed or not self._would_do(load, last, busy, wanted - 1, width):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = last.time
        elif load.time - self._calm_since >= idle_s:
            self._calm_since = load.time
            return clamp(wanted - 1, workers)
        return clamp(wanted, workers)

    @staticmethod
    def _would_do(load: Load, last: Load, busy: float, workers: int, width: int) -> bool:
        if workers <= 0:
            return not load.queued and load.batches == last.batches
        return busy <= _BUSY * workers * width
