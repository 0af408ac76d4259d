# SPDX-License-Identifier: Apache-2.0
"""When a call has taken so long that it is worth a second worker, and how many may be."""

from __future__ import annotations

from collections import deque

_LAST = 200
_LEAST_CALLS = 20
_SHARE = 0.95
_ANEW = 20  # calls after which it is reckoned anew
_LEAST_S = 0.001
_BUDGET = 0.05  # of all calls


class Hedging:
    """The calls of one model, by one event loop.

    The share and the point are those of Dean and Barroso, "The Tail at Scale": after the 95th percentile a second
    request costs five calls of a hundred at most, and takes the place of the slowest.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=_LAST)
        self._calls, self._hedges = 0, 0
        self._after_s: float | None = None

    def note(self, seconds: float) -> None:
        """A call was answered."""
        self._last.append(seconds)
        self._calls += 1
        if len(self._last) >= _LEAST_CALLS and self._calls % _ANEW == 0:
            self._after_s = max(_LEAST_S, sorted(self._last)[int(len(self._last) * _SHARE)])

    def after_s(self) -> float | None:
        """Seconds after which a call takes longer than most; None while too few are known."""
        return self._after_s

    def take(self) -> bool:
        """Whether one more may go to a second worker; it counts then."""
        if self._hedges >= self._calls * _BUDGET:
            return False
        self._hedges += 1
        return True
