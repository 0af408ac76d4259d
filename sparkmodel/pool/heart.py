# SPDX-License-Identifier: Apache-2.0
"""What a worker does so that others can judge it: its heart beats, and a timer outside Python's lock ends it."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from sparkmodel.pool.pulse import Pulse

BEAT_S = 0.25
_ARM_S = 1.0
_MOST_S = 1e8  # what the system's timers take
_LATE_S = 5.0  # beyond the longest call: who watches from outside comes first


class Heart:
    """Beats for as long as Python's threads get their turns. Safe for many threads.

    A model that holds Python's lock stops it. Whoever watches the page sees that; if nobody does, a timer of the
    system's ends the process, after its handler has written the stacks of all threads into the log.

    Args:
        pulse: The page.
        timeout_s: Longest that a call of the model may take.

    Attributes:
        receiving: Entered while a batch, or a stream's schema, is read.
    """

    def __init__(self, pulse: Pulse, timeout_s: float) -> None:
        self._pulse = pulse
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._entered, self._is_armed = 0, False
        self.receiving = pulse.receiving
        self.limit(timeout_s)
        # all of it in C, so that it works while Python is stuck; then what the signal does by itself: end the process
        with contextlib.suppress(ValueError, OSError):  # stderr is no file
            faulthandler.enable(sys.__stderr__ or 2)
            faulthandler.register(signal.SIGALRM, sys.__stderr__ or 2, all_threads=True, chain=True)
        threading.Thread(target=self._run, name="sparkmodel-heart", daemon=True).start()

    def limit(self, timeout_s: float) -> None:
        """Take another limit, for what is in the model too."""
        self._timeout_s = min(timeout_s, _MOST_S)
        self._pulse.limit(self._timeout_s)

    @contextlib.contextmanager
    def inside(self, batches: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Batches, by session and number, are in the model for as long as this is entered; one call of it."""
        with self._lock:
            self._entered += 1
            if not self._is_armed:  # it may hold Python's lock before the next beat
                self._arm()
        try:
            with self._pulse.inside(batches):
                yield
        finally:
            with self._lock:
                self._entered -= 1

    def close(self) -> None:
        """Beat no more."""
        self._closed.set()

    def _run(self) -> None:
        armed = 0.0
        while not self._closed.wait(BEAT_S):
            self._pulse.beat()
            if time.monotonic() - armed >= _ARM_S:
                armed = time.monotonic()
                with self._lock:
                    if self._entered:
                        self._arm()
                    elif self._is_armed:
                        self._disarm()
        with self._lock:
            self._disarm()

    def _arm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._timeout_s + _LATE_S)
        self._is_armed = True

    def _disarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._is_armed = False
