# SPDX-License-Identifier: Apache-2.0
"""What becomes of a group of joined batches when one of its callers, or the worker, goes."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import DeadlineExceededError, SparkModelError, WorkerStoppingError
from sparkmodel.wire.joining import Entry, Joiner
from sparkmodel.wire.room import Room
from sparkmodel.wire.turns import Turn, Visit
from tests.unit.pool.toys import eventually

SCHEMA = pa.schema([("x", pa.int64())])


class Echo:
    """Gives back what it got."""

    schema, key = SCHEMA, "echo"

    def predict(self, batch: pa.RecordBatch, turns: Callable[[], Turn]) -> pa.RecordBatch:
        with turns():
            return batch

    def active(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Caller(threading.Thread):
    """Scores one row in a thread of its own."""

    def __init__(
        self,
        joiner: Joiner,
        value: int,
        *,
        deadline_s: float = 30.0,
        gone: bool = False,
        is_alone: bool = False,
        stream: Echo | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.result: Any = None
        self._joiner = joiner
        batch = pa.record_batch([[value]], schema=SCHEMA)
        deadline = time.monotonic() + deadline_s
        visit = Visit("Cannot score", value, (value, 1), deadline, lambda: gone, lambda error: None, is_alone)
        self.entry = Entry(visit, stream or Echo(), batch)
        self.start()

    def run(self) -> None:
        room = self._joiner._room
        try:
            room.arrive(self.entry.visit)
            self.result = self._joiner.score(self.entry).column(0).to_pylist()
        except SparkModelError as error:
            self.result = error
        finally:
            room.go(self.entry.visit)

    def finish(self) -> Any:
        self.join(120)
        assert not self.is_alive()
        return self.result


def waiting(joiner: Joiner, rows: int) -> None:
    """Wait until a group has so many rows."""
    eventually(lambda: sum(group.rows for group in joiner._open.values()) == rows)


@pytest.fixture
def room() -> Room:
    return Room(1, 10)


@contextlib.contextmanager
def occupied(room: Room) -> Iterator[None]:
    """Something else is in the model."""
    visit = Visit("Cannot score", 0, (0, 1), math.inf, lambda: False, lambda error: None)
    room.arrive(visit)
    try:
        with room.turns(visit)():
            yield
    finally:
        room.go(visit)


def test_a_caller_that_leaves_does_not_disturb_the_others(room: Room) -> None:
    joiner = Joiner(room, 3, 30.0)
    leader = Caller(joiner, 1)
    waiting(joiner, 1)
    leaver = Caller(joiner, 2, gone=True)
    assert isinstance(leaver.finish(), WorkerStoppingError)
    waiting(joiner, 1)
    others = [Caller(joiner, value) for value in (3, 4)]
    assert [caller.finish() for caller in (leader, *others)] == [[1], [3], [4]]
    assert room.load == 0


def test_a_deadline_that_passes_while_waiting_is_an_error_for_its_caller_only(room: Room) -> None:
    joiner = Joiner(room, 2, 30.0)
    leader = Caller(joiner, 1)
    waiting(joiner, 1)
    joiner._open["echo"].rows = 0  # room for one that does not fill the group
    late = Caller(joiner, 2, deadline_s=0.1)
    assert isinstance(late.finish(), DeadlineExceededError)
    joiner._open["echo"].full.set()
    assert leader.finish() == [1]


def test_when_the_leader_goes_another_one_leads(room: Room) -> None:
    joiner = Joiner(room, 10, 30.0)
    with occupied(room):
        leader = Caller(joiner, 1, gone=True)
        waiting(joiner, 1)
        followers = [Caller(joiner, value) for value in (2, 3)]
        waiting(joiner, 3)
        joiner._open["echo"].full.set()
        assert isinstance(leader.finish(), WorkerStoppingError)
        waiting(joiner, 2)
        eventually(lambda: any(f.entry.visit.waiter for f in followers))  # one of them waits in its place
    assert [follower.finish() for follower in followers] == [[2], [3]]
    assert (room.load, joiner._open) == (0, {})


def test_when_the_leaders_deadline_passes_it_alone_fails(room: Room) -> None:
    joiner = Joiner(room, 10, 0.0)
    with occupied(room):
        leader = Caller(joiner, 1, deadline_s=0.5)
        waiting(joiner, 1)
        follower = Caller(joiner, 2)
        waiting(joiner, 2)
        assert isinstance(leader.finish(), DeadlineExceededError)
    assert follower.finish() == [2]
    assert (room.load, joiner._open) == (0, {})


def test_those_who_follow_a_leader_that_is_refused_are_sent_elsewhere(room: Room) -> None:
    joiner = Joiner(room, 10, 30.0)
    leader = Caller(joiner, 1, gone=True)
    waiting(joiner, 1)
    follower = Caller(joiner, 2)
    waiting(joiner, 2)
    room.stop()
    joiner._open["echo"].full.set()
    assert isinstance(leader.finish(), WorkerStoppingError)
    assert isinstance(follower.finish(), WorkerStoppingError)
    assert room.load == 0
    assert joiner._open == {}


def test_a_group_that_is_full_makes_room_for_the_next(room: Room) -> None:
    joiner = Joiner(room, 2, 30.0)
    assert sorted(caller.finish()[0] for caller in [Caller(joiner, value) for value in range(4)]) == [0, 1, 2, 3]
    assert joiner._open == {}


def test_a_batch_of_that_size_goes_alone(room: Room) -> None:
    joiner = Joiner(room, 1, 30.0)
    assert Caller(joiner, 5).finish() == [5]


def test_a_joined_call_is_told_of_with_all_of_its_batches() -> None:
    seen: list[list[tuple[int, int]]] = []

    @contextlib.contextmanager
    def inside(batches: Sequence[tuple[int, int]]) -> Iterator[None]:
        seen.append(sorted(batches))
        yield

    joiner = Joiner(Room(1, 10, inside=inside), 2, 30.0)
    assert [caller.finish() for caller in [Caller(joiner, value) for value in (1, 2)]] == [[1], [2]]
    assert seen == [[(1, 1), (2, 1)]]


def test_one_that_is_to_be_alone_is_not_joined(room: Room) -> None:
    joiner = Joiner(room, 10, 30.0)
    assert Caller(joiner, 1, is_alone=True).finish() == [1]


def test_what_fails_as_one_is_scored_one_by_one_though_the_turn_was_not_taken(room: Room) -> None:
    """Such as where the error comes before the model is called."""

    class Fails(Echo):
        def predict(self, batch: pa.RecordBatch, turns: Callable[[], Turn]) -> pa.RecordBatch:
            if batch.num_rows > 1:
                raise ValueError("before the model")
            return super().predict(batch, turns)

    joiner = Joiner(room, 2, 30.0)
    callers = [Caller(joiner, value, stream=Fails()) for value in (1, 2)]
    assert [caller.finish() for caller in callers] == [[1], [2]]
    assert room.running() == []
