# SPDX-License-Identifier: Apache-2.0
"""The way of a batch into the model: alone, or joined with small batches of other callers."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Hashable, Sequence

import pyarrow as pa

from sparkmodel.errors import DeadlineExceededError, WorkerStoppingError
from sparkmodel.wire.gate import Gate, Stay
from sparkmodel.wire.service import Stream

_LOOK_S = 0.2  # how often one that waits looks whether its caller still does


@dataclasses.dataclass(eq=False)
class Entry:
    """A batch that wants to be scored.

    Attributes:
        what: The action for an error.
        stream: What scores it.
        batch: Its rows.
        deadline: Monotonic time until which it must have been begun.
        gone: Whether its caller has gone away.
        began: Called when it enters the model.
        leads: Whether its caller's thread takes the turn of the group that it is in.
    """

    what: str
    stream: Stream
    batch: pa.RecordBatch
    deadline: float
    gone: Callable[[], bool]
    began: Callable[[Stay], None]
    result: pa.RecordBatch | None = None
    error: BaseException | None = None
    leads: bool = False
    done: threading.Event = dataclasses.field(default_factory=threading.Event)


class Joiner:
    """Scores batches, joined up to a number of rows.

    The first batch of a group leads it: it waits until the group is full or its time is over, takes the group's turn
    at the gate, and scores all at once. While it waits for its turn, others may still join. If it has to leave, such as
    at its deadline, the next one leads.

    Args:
        gate: Lets batches into the model.
        rows: Rows that a joined batch may have; None joins nothing.
        wait_s: Longest time that the first batch waits for others.
    """

    def __init__(self, gate: Gate, rows: int | None = None, wait_s: float = 0.0) -> None:
        self._gate = gate
        self.configure(rows, wait_s)
        self._lock = threading.Lock()
        self._open: dict[Hashable, _Group] = {}

    def configure(self, rows: int | None, wait_s: float) -> None:
        """Take other limits for the groups that begin from now on."""
        self._rows, self._wait_s = rows, wait_s

    def score(self, entry: Entry) -> pa.RecordBatch:
        """The predictions of one batch.

        Raises:
            PoolBusyError, WorkerStoppingError, DeadlineExceededError: it did not get to the model.
        """
        if self._rows is None or entry.batch.num_rows >= self._rows:
            with self._gate.enter(entry.what, entry.deadline, entry.gone) as stay:
                entry.began(stay)
                return entry.stream.predict(entry.batch)
        group = self._join(entry, self._rows)
        if entry.leads:
            group.full.wait(self._wait_s)
        else:
            self._follow(group, entry)
        if entry.leads:  # it may have become one while it followed
            self._lead(group, entry)
        if entry.error is not None:
            raise entry.error
        assert entry.result is not None
        return entry.result

    def _join(self, entry: Entry, limit: int) -> _Group:
        with self._lock:
            group = self._open.get(entry.stream.key)
            entry.leads = group is None or group.rows + entry.batch.num_rows > limit
            if group is None or entry.leads:
                if group is not None:
                    group.full.set()
                group = self._open[entry.stream.key] = _Group()
            group.entries.append(entry)
            group.rows += entry.batch.num_rows
            if group.rows >= limit:
                group.full.set()
            return group

    def _lead(self, group: _Group, leader: Entry) -> None:
        try:
            with self._gate.enter(leader.what, leader.deadline, leader.gone) as stay:
                with self._lock:
                    self._close(group)
                for entry in group.entries:
                    entry.began(stay)
                try:
                    _predict(group.entries)
                finally:
                    for entry in group.entries:
                        entry.done.set()
        finally:
            with self._lock:
                if not group.closed:  # it was not let in
                    self._hand_over(group, leader)

    def _hand_over(self, group: _Group, leader: Entry) -> None:
        """Have another one lead. The caller holds the lock."""
        self._remove(group, leader)
        if group.entries:
            group.entries[0].leads = True
            group.entries[0].done.set()
        else:
            self._close(group)

    def _close(self, group: _Group) -> None:
        """Let nobody in any more. The caller holds the lock."""
        group.closed = True
        for key in [key for key, other in self._open.items() if other is group]:
            del self._open[key]

    def _remove(self, group: _Group, entry: Entry) -> None:
        """Let go of one. The caller holds the lock."""
        group.entries.remove(entry)
        group.rows -= entry.batch.num_rows

    def _follow(self, group: _Group, entry: Entry) -> None:
        while not entry.done.wait(_LOOK_S):
            late = time.monotonic() > entry.deadline
            if not (late or entry.gone()):
                continue
            with self._lock:
                if group.closed or entry.leads:
                    continue  # it is being scored, or has to hand on the lead
                self._remove(group, entry)
            if late:
                raise DeadlineExceededError(entry.what, "the deadline passed while the batch waited")
            raise WorkerStoppingError(entry.what, "the caller has gone")


@dataclasses.dataclass(eq=False)
class _Group:
    entries: list[Entry] = dataclasses.field(default_factory=list)
    rows: int = 0
    closed: bool = False
    full: threading.Event = dataclasses.field(default_factory=threading.Event)


def _predict(entries: Sequence[Entry]) -> None:
    """Score all at once; if that fails, each alone, so that nobody gets another one's error."""
    if len(entries) > 1:
        try:
            result = entries[0].stream.predict(pa.concat_batches([entry.batch for entry in entries]))
        except Exception:  # each one's own error comes below
            pass
        else:
            start = 0
            for entry in entries:
                entry.result = result.slice(start, entry.batch.num_rows)
                start += entry.batch.num_rows
            return
    for entry in entries:
        try:
            entry.result = entry.stream.predict(entry.batch)
        except BaseException as error:
            entry.error = error
