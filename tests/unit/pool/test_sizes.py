# SPDX-License-Identifier: Apache-2.0
"""How many workers there are: by the load, down to none, and less where another pool needs the room."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest

from sparkmodel.pool.sizes import Autoscaler, Load, bounds, clamp
from tests import models
from tests.unit.pool.toys import Clock, RunningPool, eventually

MakePool = Callable[..., RunningPool]
CALM = Load(time=0, workers=1, waited_s=0, busy_s=0, batches=0, queued=0, oldest_s=0)


class Simulation:
    """A pool of numbers: each second some batches come, of one second of work each."""

    def __init__(self, workers: tuple[int, int], idle_s: float = 10.0) -> None:
        self.workers, self.idle_s, self.wanted = workers, idle_s, max(1, workers[0])
        self._scaler, self._load, self._queue = Autoscaler(), dataclasses.replace(CALM, workers=self.wanted), 0.0

    def second(self, arriving: float) -> int:
        if arriving and not self.wanted:
            self.wanted = 1  # a call wakes it
        work = min(self.wanted, self._queue + arriving)
        self._queue = self._queue + arriving - work
        last = self._load
        self._load = Load(
            time=last.time + 1,
            workers=self.wanted,
            waited_s=0.0 if self.wanted != last.workers else last.waited_s + self._queue,
            busy_s=0.0 if self.wanted != last.workers else last.busy_s + work,
            batches=last.batches + (work > 0),
            queued=self._queue,
            oldest_s=self._queue / max(1, self.wanted),
        )
        self.wanted = self._scaler.decide(self._load, self.wanted, self.workers, self.idle_s)
        return self.wanted

    def seconds(self, count: int, arriving: float) -> list[int]:
        return [self.second(arriving) for _ in range(count)]


def test_bounds_and_the_nearest_number() -> None:
    assert (bounds(3), bounds((0, 4))) == ((3, 3), (0, 4))
    assert [clamp(count, (1, 3)) for count in (0, 2, 9)] == [1, 2, 3]


def test_it_follows_a_load_up_and_down_to_none() -> None:
    pool = Simulation((0, 8))
    assert 4 <= pool.seconds(60, 3.9)[-1] <= 6
    assert pool.seconds(60, 6.0)[-1] >= 6
    down = pool.seconds(200, 0.0)
    assert down[-1] == 0
    assert down == sorted(down, reverse=True)
    assert pool.seconds(3, 1.0)[0] >= 1


def test_it_does_not_swing_at_an_even_load() -> None:
    pool = Simulation((1, 8))
    pool.seconds(100, 2.5)
    sizes = pool.seconds(300, 2.5)
    assert len([1 for before, after in itertools.pairwise(sizes) if before != after]) <= 2
    assert set(sizes) <= {3, 4, 5}


def test_one_look_at_a_batch_that_waits_is_no_load() -> None:
    scaler = Autoscaler()
    waits = [0.0, 5.0, 0.0, 5.0, 0.0, 0.0]
    sizes = [
        scaler.decide(dataclasses.replace(CALM, time=number, oldest_s=oldest), 1, (1, 4), 60.0)
        for number, oldest in enumerate(waits)
    ]
    assert sizes == [1] * 6
    pressed = [dataclasses.replace(CALM, time=6.0 + number, oldest_s=5.0) for number in range(2)]
    assert [scaler.decide(load, 1, (1, 4), 60.0) for load in pressed][-1] == 2


def test_it_stays_within_its_bounds() -> None:
    pool = Simulation((2, 3))
    assert set(pool.seconds(50, 9.0)) | set(pool.seconds(300, 0.0)) == {2, 3}


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def slow(make_pool: MakePool, short_grace: None, clock: Clock) -> RunningPool:
    return make_pool(by_hand=True, clock=clock, now=clock)


def look(pool: RunningPool, clock: Clock, seconds: float = 1.0) -> None:
    clock.now += seconds
    pool.master.tend()
    eventually(lambda: not pool.master._core.crew.ending)


def test_to_none_and_back_on_a_call(slow: RunningPool, clock: Clock) -> None:
    slow.deploy(models.FactorModel(2), workers=(0, 3), idle_s=10.0)
    assert (len(slow.serving), slow.directory.state) == (1, "ready")
    assert slow.score("q") == 2
    for _ in range(9):
        look(slow, clock)
    assert len(slow.serving) == 1
    for _ in range(4):
        look(slow, clock)
    assert (slow.serving, slow.directory.state, slow.house.slots) == ([], "cold", [])
    assert slow.directory.of(1) is not None
    rows = slow.master.stats()["rows"]
    assert rows == 1
    assert slow.score("r") == 2
    assert (len(slow.serving), slow.directory.state) == (1, "ready")
    assert slow.master.stats()["rows"] == 2
    assert slow.master.restarts == 0


def test_batches_that_wait_bring_more_workers(slow: RunningPool, clock: Clock) -> None:
    slow.deploy(models.FactorModel(2), workers=(1, 3), idle_s=10.0)
    (first,) = slow.serving
    first.extra = {"oldest_wait_s": 5.0, "queued": 9}
    for number in range(20):
        first.extra["wait_s"] = 9.0 * number
        look(slow, clock)
        eventually(lambda: slow.directory.state == "ready")
    assert len(slow.serving) == 3
    assert first in slow.serving
    first.extra = {"wait_s": 9.0 * 20}
    for _ in range(40):
        look(slow, clock)
    assert slow.serving == [first]
    assert len(slow.house.slots) == 1


def test_a_load_for_which_there_is_no_room_is_borne(make_pool: MakePool, short_grace: None, clock: Clock) -> None:
    slow = make_pool(room=1, by_hand=True, clock=clock, now=clock)
    slow.deploy(models.FactorModel(2), workers=(1, 3))
    slow.serving[0].extra = {"oldest_wait_s": 5.0}
    for _ in range(6):
        look(slow, clock)
        eventually(lambda: not slow.master._healer._pending.get(1))
    assert (len(slow.serving), slow.directory.state) == (1, "ready")
    assert slow.score("q") == 2


def test_who_is_idle_gives_way_down_to_its_least(slow: RunningPool, clock: Clock) -> None:
    slow.deploy(models.FactorModel(2), workers=(1, 3))
    slow.change("size", workers=(3, 3))
    slow.change("size", workers=(1, 3))
    assert len(slow.serving) == 3
    slow.score("q")
    look(slow, clock)
    assert not slow.master.give_way(), "it was called a second ago"
    look(slow, clock, 5.0)
    assert slow.master.idle_s >= 5.0
    slow.score("q")
    assert not slow.master.give_way(), "it was called since the last look"
    look(slow, clock, 5.0)
    assert slow.master.give_way()
    assert (len(slow.serving), len(slow.house.slots)) == (1, 1)
    assert not slow.master.give_way()
    assert slow.directory.state == "ready"


def test_who_is_being_changed_does_not_give_way(slow: RunningPool, clock: Clock) -> None:
    slow.deploy(models.FactorModel(2), workers=(0, 3))
    look(slow, clock)
    look(slow, clock, 100.0)
    with slow.master._core.change:
        assert not slow.master.give_way()
    assert slow.master.give_way()
    assert slow.directory.state == "cold"


def test_the_next_master_keeps_the_size_that_the_load_brought(slow: RunningPool) -> None:
    slow.deploy(models.FactorModel(2), workers=(0, 3))
    slow.change("size", workers=(3, 3))
    slow.change("size", workers=(0, 3))
    members = slow.serving
    slow.next_master()
    assert slow.serving == members
    assert slow.master.current.spec.options.workers == (0, 3)
