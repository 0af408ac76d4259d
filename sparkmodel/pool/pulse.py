# SPDX-License-Identifier: Apache-2.0
"""A page of memory in which a worker notes what it does, so that others can judge it without asking it.

A worker whose model holds Python's lock, or that was stopped, answers nothing; one that was killed less so. The page is
a small file that is mapped by the worker and by who watches it, on the same host. Times are of CLOCK_MONOTONIC, which
all processes of a host share.
"""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import pathlib
import struct
import threading
import time
from collections.abc import Iterator, Sequence

_MAGIC = b"SMPULSE1"
# magic, heartbeat, pid, slots ever used, rows, batches, errors, entries without a slot, timeout
_HEAD = struct.Struct("<8sQIIQQQIxxxxQ")
_TIME, _NUMBER, _COUNTS = struct.Struct("<Q"), struct.Struct("<I"), struct.Struct("<QQQ")
_BEAT_AT, _USED_AT, _COUNTS_AT, _MORE_AT, _TIMEOUT_AT, _SLOTS_AT = 8, 20, 24, 48, 56, 64
_SLOT = struct.Struct("<QIIIxxxxxxxxxxxx")  # started, session, seq, kind
SLOTS = 500
_IN_MODEL, _RECEIVED = 0, 1


@dataclasses.dataclass(frozen=True)
class Inside:
    """A batch that is in the model.

    Attributes:
        session, seq: Which: the connection's number in this worker, and the batch's number on it.
        started_ns: When its present call of the model began.
    """

    session: int
    seq: int
    started_ns: int


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was seen at one look.

    Attributes:
        heartbeat_ns: When the worker's own watch last had its turn.
        inside: Batches in the model.
        receiving: Batches, and the schemas of streams, that are being read.
        is_all: Whether the former are all; there were more than the page has room for otherwise.
        rows, batches, errors: As in `WorkerStats`.
        timeout_ns: Longest that a call of the model may take; 0 where nobody has said.
    """

    heartbeat_ns: int
    inside: tuple[Inside, ...] = ()
    receiving: tuple[Inside, ...] = ()
    is_all: bool = True
    rows: int = 0
    batches: int = 0
    errors: int = 0
    timeout_ns: int = 0

    @property
    def oldest_ns(self) -> int | None:
        """When the call began that is under way for longest; None if none is."""
        return min((one.started_ns for one in self.inside), default=None)


class Pulse:
    """The worker's side. Safe for many threads.

    Args:
        path: Of the file, which is made.
    """

    def __init__(self, path: pathlib.Path) -> None:
        size = _SLOTS_AT + SLOTS * _SLOT.size
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, size)
            self._page = mmap.mmap(file, size)
        finally:
            os.close(file)
        self._lock = threading.Lock()
        self._free = list(range(SLOTS - 1, -1, -1))  # the lowest first: who reads looks at no more than were used
        self._used = self._more = 0
        self._counts = [0, 0, 0]
        _HEAD.pack_into(self._page, 0, _MAGIC, time.monotonic_ns(), os.getpid(), 0, 0, 0, 0, 0, 0)

    def beat(self) -> None:
        """Note that the worker's own watch has its turn."""
        _TIME.pack_into(self._page, _BEAT_AT, time.monotonic_ns())

    def limit(self, timeout_s: float) -> None:
        """Note how long a call of the model may take."""
        _TIME.pack_into(self._page, _TIMEOUT_AT, int(timeout_s * 1e9))

    def count(self, rows: int, batches: int, errors: int) -> None:
        """Add to the counters."""
        with self._lock:
            self._counts = [before + more for before, more in zip(self._counts, (rows, batches, errors), strict=True)]
            _COUNTS.pack_into(self._page, _COUNTS_AT, *self._counts)

    @contextlib.contextmanager
    def inside(self, batches: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Batches, by session and number, are in the model for as long as this is entered; one call of it."""
        with self._lock:
            taken = [self._free.pop() for _ in batches[: len(self._free)]]
            self._use(max(taken, default=-1) + 1)
            self._change(len(batches) - len(taken))
        now = time.monotonic_ns()
        for slot, (session, seq) in zip(taken, batches, strict=False):
            _SLOT.pack_into(self._page, _SLOTS_AT + slot * _SLOT.size, now, session, seq, _IN_MODEL)
        try:
            yield
        finally:
            for slot in taken:
                _SLOT.pack_into(self._page, _SLOTS_AT + slot * _SLOT.size, 0, 0, 0, 0)
            with self._lock:
                self._free.extend(taken)
                self._change(len(taken) - len(batches))

    @contextlib.contextmanager
    def receiving(self, session: int, seq: int) -> Iterator[None]:
        """A batch, or the schema of a stream, is being read for as long as this is entered."""
        with self._lock:
            slot = self._free.pop() if self._free else None
            if slot is not None:
                self._use(slot + 1)
        if slot is None:  # there are very many: that some are missing here is no matter
            yield
            return
        _SLOT.pack_into(self._page, _SLOTS_AT + slot * _SLOT.size, time.monotonic_ns(), session, seq, _RECEIVED)
        try:
            yield
        finally:
            _SLOT.pack_into(self._page, _SLOTS_AT + slot * _SLOT.size, 0, 0, 0, 0)
            with self._lock:
                self._free.append(slot)

    def _change(self, more: int) -> None:
        if more:
            self._more += more
            _NUMBER.pack_into(self._page, _MORE_AT, self._more)

    def _use(self, slots: int) -> None:
        if slots > self._used:
            self._used = slots
            _NUMBER.pack_into(self._page, _USED_AT, slots)

    def close(self) -> None:
        """Let go of the page; the file is its directory's."""
        self._page.close()


class Watched:
    """The other side, on the same host. Also of a worker that has died: the page says what it was at.

    Args:
        path: Of the file.

    Raises:
        OSError, ValueError: it is not there, or is no such page.
    """

    def __init__(self, path: pathlib.Path) -> None:
        with path.open("rb") as file:
            self._page = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._page[:8] != _MAGIC:
            self._page.close()
            raise ValueError(f"{path} is no pulse")

    def read(self) -> Reading:
        """What is seen now."""
        _, beat, _, slots, rows, batches, errors, more, timeout = _HEAD.unpack_from(self._page, 0)
        found: tuple[list[Inside], list[Inside]] = [], []
        for slot in range(min(slots, SLOTS)):
            started, session, seq, kind = _SLOT.unpack_from(self._page, _SLOTS_AT + slot * _SLOT.size)
            if started:
                found[kind == _RECEIVED].append(Inside(session, seq, started))
        inside, receiving = map(tuple, found)
        return Reading(beat, inside, receiving, not more, rows, batches, errors, timeout)

    def close(self) -> None:
        """Let go of the page."""
        self._page.close()
