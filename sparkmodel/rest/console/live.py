# SPDX-License-Identifier: Apache-2.0
"""The last half hour of each model, as this gateway has answered it: in rings of a fixed size, for charts.

Metrics proper are those of `/metrics`; these need nobody to collect them.
"""

from __future__ import annotations

import bisect
import math
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from sparkmodel.rest.asked import Context

STEP_S = 5
KEPT_S = 1800
MODELS = 256  # those that were called last; one takes some 55 kB
_STEPS = KEPT_S // STEP_S
# upper ends in ms, each 1.4 times the one before: 0.25 ms to 65 s; what is longer is in the last one too
BOUNDS_MS = tuple(0.25 * math.sqrt(2) ** power for power in range(37))


class Live:
    """Requests, errors and latencies of each model by steps of five seconds. For one thread, the event loop's.

    An error is an answer of 429, or of 500 and above: what callers did wrong is not the model's. Latencies are those of
    requests that got predictions.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rings: OrderedDict[str, _Ring] = OrderedDict()

    def tell(self, context: Context) -> None:
        """Count a request that is answered; one that is about no model is not counted."""
        if not context.model or context.protocol == "admin":
            return
        ring = self._rings.get(context.model)
        if ring is None:
            ring = self._rings[context.model] = _Ring()
            if len(self._rings) > MODELS:
                self._rings.popitem(last=False)
        self._rings.move_to_end(context.model)
        now = self._clock()
        failed = context.status == 429 or context.status >= 500
        taken_ms = None if context.scored is None or failed else (now - context.started) * 1e3
        ring.add(int(now // STEP_S), failed, taken_ms)

    def told(self, seconds: int) -> dict[str, Any]:
        """The whole steps of the last seconds, the oldest first; the one that is not over yet is left out.

        Returns:
            `{"step_s": 5, "models": {name: {"requests": [..], "errors": [..], "p50_ms": [..], "p99_ms": [..]}}}`. A
            percentile is None where nothing was answered, and else within a fifth of what it is.
        """
        end = int(self._clock() // STEP_S)
        steps = range(end - min(_STEPS - 1, math.ceil(seconds / STEP_S)), end)
        return {"step_s": STEP_S, "models": {name: ring.told(steps) for name, ring in sorted(self._rings.items())}}


class _Ring:
    def __init__(self) -> None:
        self._step = array("q", [-1] * _STEPS)  # which step a place is of
        self._requests, self._errors = array("L", [0] * _STEPS), array("L", [0] * _STEPS)
        self._counts = array("I", [0] * (_STEPS * len(BOUNDS_MS)))

    def add(self, step: int, failed: bool, taken_ms: float | None) -> None:
        at = step % _STEPS
        first = at * len(BOUNDS_MS)
        if self._step[at] != step:
            self._step[at], self._requests[at], self._errors[at] = step, 0, 0
            self._counts[first : first + len(BOUNDS_MS)] = array("I", [0] * len(BOUNDS_MS))
        self._requests[at] += 1
        self._errors[at] += failed
        if taken_ms is not None:
            self._counts[first + min(bisect.bisect_left(BOUNDS_MS, taken_ms), len(BOUNDS_MS) - 1)] += 1

    def told(self, steps: range) -> dict[str, list[Any]]:
        told: dict[str, list[Any]] = {"requests": [], "errors": [], "p50_ms": [], "p99_ms": []}
        for step in steps:
            at = step % _STEPS
            known = self._step[at] == step
            first = at * len(BOUNDS_MS)
            counts = self._counts[first : first + len(BOUNDS_MS)] if known else ()
            told["requests"].append(self._requests[at] if known else 0)
            told["errors"].append(self._errors[at] if known else 0)
            told["p50_ms"].append(percentile(counts, 0.5))
            told["p99_ms"].append(percentile(counts, 0.99))
        return told


def percentile(counts: Sequence[int], share: float) -> float | None:
    """A percentile in ms of what was counted by `BOUNDS_MS`; None if there is nothing."""
    rank = math.ceil(sum(counts) * share)
    if rank == 0:
        return None
    below = 0
    for place, count in enumerate(counts):
        if below + count >= rank:
            low = BOUNDS_MS[place - 1] if place else 0.0
            return round(low + (BOUNDS_MS[place] - low) * (rank - below) / count, 3)
        below += count
    return BOUNDS_MS[-1]
