# SPDX-License-Identifier: Apache-2.0
"""Events on their way to where they are written: never in the way of who makes them."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from sparkmodel.records.events import DROPPED, Event

_log = logging.getLogger(__name__)
_SAY_EVERY_S = 60.0
_BACKOFF_S = (0.1, 30.0)


class Sink(Protocol):
    """Where events are written; only the recorder's thread calls it."""

    def write(self, events: list[Event]) -> None:
        """Write all of them, or raise; `NotWrittenError` tells which are not there."""

    def close(self) -> None:
        """Free what it holds."""


class NotWrittenError(Exception):
    """Some events were not written.

    Args:
        reason: Why.
        left: Those.
        again: Whether another attempt may help.
    """

    def __init__(self, reason: str, left: list[Event], *, again: bool = True) -> None:
        super().__init__(reason)
        self.left, self.again = left, again


@dataclasses.dataclass(frozen=True)
class Counts:
    """What became of events: written, dropped and waiting ones are all that were observed."""

    observed: int = 0
    written: int = 0
    dropped: int = 0
    waiting: int = 0


class Recorder:
    """Buffers events and writes them from a thread of its own, which starts with the first one.

    A process that is forked from this one begins with an empty buffer and a thread of its own.

    Args:
        open_sink: Connects; called in the thread, and again after a failure.
        who: Who writes, for what it says of itself.
        most_events: Events that may wait; more are dropped, and counted.
        most_bytes: Bytes that they may hold.
        flush_events: So many are written at once.
        flush_s: Seconds that an event waits at most for others.
        give_up_s: Seconds of attempts after which what cannot be written is dropped.
    """

    def __init__(
        self,
        open_sink: Callable[[], Sink],
        *,
        who: str = "",
        most_events: int = 20_000,
        most_bytes: int = 1 << 25,
        flush_events: int = 2_000,
        flush_s: float = 5.0,
        give_up_s: float = 600.0,
    ) -> None:
        self._open_sink, self._who = open_sink, who
        self._most_events, self._most_bytes, self._flush_events = most_events, most_bytes, flush_events
        self._flush_s, self._give_up_s = flush_s, give_up_s
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._wake, self._ending, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._buffer: deque[Event] = deque()
        self._bytes = self._observed = self._written = self._dropped = self._told = self._said = self._in_hand = 0
        self._thread: threading.Thread | None = None
        self._sink: Sink | None = None
        self._said_at = 0.0
        self._reason = ""

    def put(self, event: Event) -> None:
        """Take an event, or drop it: never waits for what is written, never raises."""
        if self._pid != os.getpid():
            self._begin()
        size = event.size
        with self._lock:
            self._observed += 1
            waiting = len(self._buffer) + self._in_hand
            if self._ending.is_set() or waiting >= self._most_events or self._bytes + size > self._most_bytes:
                self._dropped += 1
                return
            self._buffer.append(event)
            self._bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sparkmodel-record", daemon=True)
                self._thread.start()
            if len(self._buffer) >= self._flush_events:
                self._wake.set()

    def counts(self) -> Counts:
        """What became of the events so far."""
        if self._pid != os.getpid():
            return Counts()
        with self._lock:
            waiting = len(self._buffer) + self._in_hand
            return Counts(self._observed, self._written, self._dropped, waiting)

    def end(self) -> None:
        """Take no more, write what waits, without waiting for it."""
        self._ending.set()
        self._wake.set()

    def close(self, within_s: float = 5.0) -> None:
        """Take no more and write what waits; what is not written in time is dropped."""
        if self._pid != os.getpid():
            return
        self.end()
        if self._thread is not None:
            self._thread.join(within_s)
        with self._lock:
            if not self._ended.is_set():
                self._ended.set()
                self._dropped += len(self._buffer) + self._in_hand
                self._buffer.clear()
                self._in_hand = self._bytes = 0
        self._say(last=True)

    def _run(self) -> None:
        while True:
            self._wake.wait(0.0 if self._ending.is_set() else self._flush_s)
            events = self._take()
            if events:
                self._write(events)
            elif self._ending.is_set():
                break
            self._say()
        if self._sink is not None:
            self._close_sink()
        with self._lock:
            self._ended.set()

    def _take(self) -> list[Event]:
        with self._lock:
            events = [self._buffer.popleft() for _ in range(min(len(self._buffer), self._flush_events))]
            self._in_hand = len(events)
            if len(self._buffer) < self._flush_events and not self._ending.is_set():
                self._wake.clear()
            return events

    def _write(self, events: list[Event]) -> None:
        """Write what was taken, with as many attempts as it takes; after an end with one."""
        size, pause, began = sum(event.size for event in events), _BACKOFF_S[0], time.monotonic()
        while events and not self._ended.is_set():
            missing = self._dropped - self._told
            lost = Event(at=time.time(), model="", source="record", rows=missing, outcome=DROPPED, worker=self._who)
            everything = [*events, lost] if missing else events
            again = True
            try:
                if self._sink is None:
                    self._sink = self._open_sink()
                self._sink.write(everything)
                left: list[Event] = []
            except NotWrittenError as error:
                left, again, self._reason = error.left, error.again, str(error)
            except Exception as error:  # each sink has its own; none may end the thread
                left, self._reason = everything, f"{type(error).__name__}: {error}"
            remaining = [event for event in left if event is not lost]
            with self._lock:
                if self._ended.is_set():  # counted as dropped already
                    break
                if missing and len(remaining) == len(left):
                    self._told += missing
                self._written += len(events) - len(remaining)
                self._in_hand = len(remaining)
            events = remaining
            if not events:
                break
            self._close_sink()
            if not again or self._ending.is_set() or time.monotonic() - began > self._give_up_s:
                with self._lock:
                    self._dropped += len(events)
                    self._in_hand = 0
                break
            self._say()
            self._ending.wait(pause)
            pause = min(pause * 2, _BACKOFF_S[1])
        with self._lock:
            self._bytes = max(0, self._bytes - size)

    def _close_sink(self) -> None:
        sink, self._sink = self._sink, None
        try:
            if sink is not None:
                sink.close()
        except Exception as error:  # it is given up anyway
            self._reason = f"{type(error).__name__}: {error}"

    def _say(self, *, last: bool = False) -> None:
        """Say once a minute how many were dropped, if any were."""
        now, counts = time.monotonic(), self.counts()
        if not counts.dropped or counts.dropped == self._said or (not last and now - self._said_at < _SAY_EVERY_S):
            return
        self._said_at, self._said = now, counts.dropped
        _log.warning("Record of calls: %d of %d events dropped. %s", counts.dropped, counts.observed, self._reason)
