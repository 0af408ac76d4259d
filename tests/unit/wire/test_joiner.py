# SPDX-License-Identifier: Apache-2.0
"""What becomes of a group of joined batches when one of its callers, or the worker, goes."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import DeadlineExceededError, SparkModelError, WorkerStoppingError
from sparkmodel.wire.gate import Gate
from sparkmodel.wire.joiner import Entry, Joiner
from tests.unit.pool.toys import eventually

SCHEMA = pa.schema([("x", pa.int64())])


class Echo:
    """Gives back what it got."""

    schema, key = SCHEMA, "echo"

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch


class Caller(threading.Thread):
    """Scores one row in a thread of its own."""

    def __init__(self, joiner: Joiner, value: int, *, deadline_s: float = 30.0, gone: bool = False) -> None:
        super().__init__(daemon=True)
        self.result: Any = None
        self._joiner = joiner
        batch = pa.record_batch([[value]], schema=SCHEMA)
        self.entry = Entry(
            "Cannot score", Echo(), batch, time.monotonic() + deadline_s, lambda: gone, lambda stay: None
        )
        self.start()

    def run(self) -> None:
        try:
            self.result = self._joiner.score(self.entry).column(0).to_pylist()
        except SparkModelError as error:
            self.result = error

    def finish(self) -> Any:
        self.join(120)
        assert not self.is_alive()
        return self.result


def waiting(joiner: Joiner, rows: int) -> None:
    """Wait until a group has so many rows."""
    eventually(lambda: sum(group.rows for group in joiner._open.values()) == rows)


@pytest.fixture
def gate() -> Gate:
    return Gate(1, 10)


def test_a_caller_that_leaves_does_not_disturb_the_others(gate: Gate) -> None:
    joiner = Joiner(gate, 3, 30.0)
    leader = Caller(joiner, 1)
    waiting(joiner, 1)
    leaver = Caller(joiner, 2, gone=True)
    assert isinstance(leaver.finish(), WorkerStoppingError)
    waiting(joiner, 1)
    others = [Caller(joiner, value) for value in (3, 4)]
    assert [caller.finish() for caller in (leader, *others)] == [[1], [3], [4]]
    assert gate.load == 0


def test_a_deadline_that_passes_while_waiting_is_an_error_for_its_caller_only(gate: Gate) -> None:
    joiner = Joiner(gate, 2, 30.0)
    leader = Caller(joiner, 1)
    waiting(joiner, 1)
    joiner._open["echo"].rows = 0  # room for one that does not fill the group
    late = Caller(joiner, 2, deadline_s=0.1)
    assert isinstance(late.finish(), DeadlineExceededError)
    joiner._open["echo"].full.set()
    assert leader.finish() == [1]


def test_when_the_leader_goes_another_one_leads(gate: Gate) -> None:
    joiner = Joiner(gate, 10, 30.0)
    with gate.enter("Cannot score", math.inf, lambda: False):
        leader = Caller(joiner, 1, gone=True)
        waiting(joiner, 1)
        followers = [Caller(joiner, value) for value in (2, 3)]
        waiting(joiner, 3)
        joiner._open["echo"].full.set()
        assert isinstance(leader.finish(), WorkerStoppingError)
        waiting(joiner, 2)
        eventually(lambda: gate.load == 2)  # a follower stands at the gate in its place
    assert [follower.finish() for follower in followers] == [[2], [3]]
    assert (gate.load, joiner._open) == (0, {})


def test_when_the_leaders_deadline_passes_it_alone_fails(gate: Gate) -> None:
    joiner = Joiner(gate, 10, 0.0)
    with gate.enter("Cannot score", math.inf, lambda: False):
        leader = Caller(joiner, 1, deadline_s=0.5)
        waiting(joiner, 1)
        follower = Caller(joiner, 2)
        waiting(joiner, 2)
        assert isinstance(leader.finish(), DeadlineExceededError)
    assert follower.finish() == [2]
    assert (gate.load, joiner._open) == (0, {})


def test_those_who_follow_a_leader_that_is_refused_are_sent_elsewhere(gate: Gate) -> None:
    joiner = Joiner(gate, 10, 30.0)
    leader = Caller(joiner, 1, gone=True)
    waiting(joiner, 1)
    follower = Caller(joiner, 2)
    waiting(joiner, 2)
    gate.stopping = True
    joiner._open["echo"].full.set()
    assert isinstance(leader.finish(), WorkerStoppingError)
    assert isinstance(follower.finish(), WorkerStoppingError)
    assert gate.load == 0
    assert joiner._open == {}


def test_a_group_that_is_full_makes_room_for_the_next(gate: Gate) -> None:
    joiner = Joiner(gate, 2, 30.0)
    assert sorted(caller.finish()[0] for caller in [Caller(joiner, value) for value in range(4)]) == [0, 1, 2, 3]
    assert joiner._open == {}


def test_a_batch_of_that_size_goes_alone(gate: Gate) -> None:
    joiner = Joiner(gate, 1, 30.0)
    assert Caller(joiner, 5).finish() == [5]
