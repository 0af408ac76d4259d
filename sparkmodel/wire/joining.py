# SPDX-License-Identifier: Apache-2.0
"""Small batches of several callers, joined for one call of the model."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Hashable, Sequence

import pyarrow as pa

from sparkmodel.errors import DeadlineExceededError, WorkerStoppingError
from sparkmodel.wire.room import Room
from sparkmodel.wire.service import Stream
from sparkmodel.wire.turns import Turn, Visit

_LOOK_S = 0.2  # how often one that waits looks whether its caller still does


@dataclasses.dataclass(eq=False, slots=True)
class Entry:
    """A batch that wants to be scored.

    Attributes:
        visit: Its stay in the room.
        stream: What scores it.
        batch: Its rows.
        since: When it came, by the monotonic clock.
        leads: Whether its caller's thread takes the turn of the group that it is in.
        done: Set when it has to look at what has become of it; None until it is in a group.
    """

    visit: Visit
    stream: Stream
    batch: pa.RecordBatch
    result: pa.RecordBatch | None = None
    error: BaseException | None = None
    leads: bool = False
    done: threading.Event | None = None
    since: float = dataclasses.field(default_factory=time.monotonic)


class Joiner:
    """Scores batches, joined up to a number of rows.

    The first batch of a group leads it: it waits until the group is full or its time is over, takes the group's turn
    in the room, and scores all at once. While it waits for its turn, others may still join. If it has to leave, such as
    at its deadline, the next one leads.

    Args:
        room: Lets batches into the model.
        rows: Rows that a joined batch may have; None joins nothing.
        wait_s: Longest time that the first batch waits for others.
    """

    def __init__(self, room: Room, rows: int | None = None, wait_s: float = 0.0) -> None:
        self._room = room
        self.configure(rows, wait_s)
        self._lock = threading.Lock()
        self._open: dict[Hashable, _Group] = {}

    def configure(self, rows: int | None, wait_s: float) -> None:
        """Take other limits for the groups that begin from now on."""
        self._rows, self._wait_s = rows, wait_s

    def score(self, entry: Entry) -> pa.RecordBatch:
        """The predictions of one batch, which has its place in the room.

        Raises:
            PoolBusyError, WorkerStoppingError, DeadlineExceededError: it did not get to the model.
        """
        visit = entry.visit
        if self._rows is None or visit.is_alone or entry.batch.num_rows >= self._rows:
            return entry.stream.predict(entry.batch, self._room.turns(visit))
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
        entry.done = threading.Event()
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
        turn = Turn(self._room, (leader.visit,))
        try:
            turn.take()
            with self._lock:
                self._close(group)
            turn.visits = [entry.visit for entry in group.entries]
            now = time.monotonic()
            for entry in group.entries:
                entry.visit.is_begun = True
                entry.visit.waited_s = now - entry.since  # for the others too: who follows stands in no queue
            try:
                self._predict(group.entries, turn)
            finally:
                for entry in group.entries:
                    _tell(entry)
        finally:
            turn.end()  # it may not have been entered at all
            with self._lock:
                if not group.closed:  # it was not let in
                    self._hand_over(group, leader)

    def _hand_over(self, group: _Group, leader: Entry) -> None:
        """Have another one lead. The caller holds the lock."""
        self._remove(group, leader)
        if group.entries:
            group.entries[0].leads = True
            _tell(group.entries[0])
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
        visit = entry.visit
        assert entry.done is not None
        while not entry.done.wait(_LOOK_S):
            late = time.monotonic() > visit.deadline
            if not (late or visit.gone()):
                continue
            with self._lock:
                if group.closed or entry.leads:
                    continue  # it is being scored, or has to hand on the lead
                self._remove(group, entry)
            if late:
                raise DeadlineExceededError(visit.what, "the deadline passed while the batch waited")
            raise WorkerStoppingError(visit.what, "the caller has gone")

    def _predict(self, entries: Sequence[Entry], turn: Turn) -> None:
        """Score all at once; if that fails, each alone, so that nobody gets another one's error."""
        turns = self._beginning_with(turn)
        if len(entries) > 1:
            try:
                result = entries[0].stream.predict(pa.concat_batches([entry.batch for entry in entries]), turns)
            except Exception:  # each one's own error comes below
                pass
            else:
                start = 0
                for entry in entries:
                    entry.result = result.slice(start, entry.batch.num_rows)
                    start += entry.batch.num_rows
                return
            turn.end()  # if it was not entered: each has one of its own now
        for entry in entries:
            own = turns if len(entries) == 1 else self._room.turns(entry.visit)
            try:
                entry.result = entry.stream.predict(entry.batch, own)
            except BaseException as error:
                entry.error = error

    def _beginning_with(self, turn: Turn) -> Callable[[], Turn]:
        """Makes the turns of a group, the first of which it has already."""
        taken = [turn]
        return lambda: taken.pop() if taken else Turn(self._room, turn.visits)


@dataclasses.dataclass(eq=False)
class _Group:
    entries: list[Entry] = dataclasses.field(default_factory=list)
    rows: int = 0
    closed: bool = False
    full: threading.Event = dataclasses.field(default_factory=threading.Event)


def _tell(entry: Entry) -> None:
    assert entry.done is not None
    entry.done.set()
