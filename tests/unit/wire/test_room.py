# SPDX-License-Identifier: Apache-2.0
"""The room before the model: callers in turn, one call at a time, as wide as it is set, and bounded."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import pytest

from sparkmodel.errors import PoolBusyError, PredictTimeoutError, SparkModelError
from sparkmodel.wire import turns
from sparkmodel.wire.queues import Queues, Waiter
from sparkmodel.wire.room import Room
from sparkmodel.wire.turns import Visit
from tests.unit.wire.toys import wait_until

WHAT = "Cannot score"


def visit_of(caller: Hashable = 0, *, is_alone: bool = False, seq: int = 1) -> Visit:
    return Visit(WHAT, caller, (1, seq), math.inf, lambda: False, lambda error: None, is_alone=is_alone)


@contextlib.contextmanager
def arrived(room: Room, visit: Visit) -> Iterator[Visit]:
    room.arrive(visit)
    try:
        yield visit
    finally:
        room.go(visit)


class Visitor(threading.Thread):
    """A batch that stays in the model until it is let go."""

    def __init__(self, room: Room, order: list[int], number: int, *, is_alone: bool = False, caller: int = -1) -> None:
        super().__init__(daemon=True)
        self.leave, self.gone, self.error = threading.Event(), False, ""
        self._room, self._order, self._number = room, order, number
        self.visit = visit_of(number if caller < 0 else caller, is_alone=is_alone, seq=number)
        self.visit.gone = lambda: self.gone
        self.start()
        wait_until(lambda: self.stands or bool(self.error), "it stands in the room")

    @property
    def stands(self) -> bool:
        """Whether it waits, or has been in the model."""
        return self.visit.waiter is not None or self._number in self._order

    def run(self) -> None:
        try:
            with arrived(self._room, self.visit), self._room.turns(self.visit)():
                self._order.append(self._number)
                self.leave.wait()
        except SparkModelError as error:
            self.error = error.condition


@pytest.fixture
def order() -> list[int]:
    """Who has entered, in order."""
    return []


@pytest.fixture
def crowd(order: list[int]) -> Iterator[tuple[Room, list[Visitor]]]:
    """Five who want into a room for one."""
    room = Room(1, 4)
    visitors = [Visitor(room, order, number) for number in range(5)]
    yield room, visitors
    for visitor in visitors:
        visitor.leave.set()
    for visitor in visitors:
        visitor.join(60)
    assert (room.load, room.running()) == (0, [])


Crowd = tuple[Room, list[Visitor]]


def test_those_who_wait_enter_in_the_order_in_which_they_came(crowd: Crowd, order: list[int]) -> None:
    for number, visitor in enumerate(crowd[1]):
        wait_until(lambda number=number: order == list(range(number + 1)), "the next one is in")  # type: ignore[misc]
        visitor.leave.set()


def test_a_wider_room_lets_those_in_who_wait_and_a_narrower_one_none_out(crowd: Crowd, order: list[int]) -> None:
    room, visitors = crowd
    room.resize(3, 4)
    wait_until(lambda: sorted(order) == [0, 1, 2], "three are in")
    room.resize(1, 4)
    visitors[0].leave.set()
    visitors[1].leave.set()
    wait_until(lambda: room.load == 3, "two have left")
    assert sorted(order) == [0, 1, 2], "one is inside still"
    visitors[2].leave.set()
    wait_until(lambda: order[3:] == [3], "the next one is in")


def test_a_longer_queue_takes_more(crowd: Crowd, order: list[int]) -> None:
    room, visitors = crowd
    with pytest.raises(PoolBusyError, match="5 batches wait"):
        room.arrive(visit_of(9))
    room.resize(1, 5)
    visitors.append(Visitor(room, order, 5))
    assert room.load == 6


def test_one_that_leaves_the_queue_lets_the_next_one_move_up(crowd: Crowd, order: list[int]) -> None:
    room, visitors = crowd
    visitors[1].gone = True
    wait_until(lambda: room.load == 4, "it has left")
    assert visitors[1].error == "WORKER_STOPPING"
    visitors[0].leave.set()
    wait_until(lambda: order == [0, 2], "the next one is in")


def test_the_time_that_batches_wait_is_known_while_they_do_and_after(crowd: Crowd) -> None:
    room, visitors = crowd
    first = room.waited_s
    wait_until(lambda: room.waited_s > first, "it grows while they wait")
    assert 0 < room.oldest_wait_s <= room.waited_s
    for visitor in visitors:
        visitor.leave.set()
    wait_until(lambda: room.load == 0, "all have been in")
    assert room.oldest_wait_s == 0
    assert room.waited_s == room.waited_s > first, "and stands still"
    assert visitors[4].visit.waited_s > 0


def test_nobody_waits_in_an_empty_room() -> None:
    room = Room(1, 0)
    with arrived(room, visit_of()) as visit, room.turns(visit)():
        pass
    assert (room.waited_s, room.oldest_wait_s, visit.waited_s) == (0, 0, 0)


def test_those_who_wait_are_sent_away_at_once_when_it_closes(crowd: Crowd, order: list[int]) -> None:
    room, visitors = crowd
    room.stop()
    wait_until(lambda: room.load == 1, "they have left")
    assert [visitor.error for visitor in visitors] == ["", *["WORKER_STOPPING"] * 4]


def test_what_was_begun_goes_on_in_a_room_that_closes_unless_it_is_to_be_at_once() -> None:
    room = Room(1, 4)
    with arrived(room, visit_of()) as visit:
        with room.turns(visit)():
            room.stop()
        with room.turns(visit)():
            room.stop(at_once=True)
        with pytest.raises(SparkModelError, match="stopping"), room.turns(visit)():
            pass


def test_callers_are_served_in_turn_however_many_batches_of_each_wait(order: list[int]) -> None:
    room = Room(1, 100)
    visitors = [Visitor(room, order, 0, caller=7)]
    visitors += [Visitor(room, order, 10 + i, caller=1) for i in range(6)]
    visitors += [Visitor(room, order, 20 + i, caller=2) for i in range(2)]
    visitors += [Visitor(room, order, 30, caller=3)]
    for visitor in visitors:
        visitor.leave.set()
    for visitor in visitors:
        visitor.join(60)
    assert order == [0, 10, 20, 30, 11, 21, 12, 13, 14, 15]


def test_a_batch_of_many_calls_leaves_room_for_others_between_two_of_them(order: list[int]) -> None:
    """The caller of one row waits for two calls at most, whatever the other one has still to do."""
    room, calls, done = Room(1, 100), list[str](), threading.Event()

    def scan() -> None:
        with arrived(room, visit_of("scan")) as visit:
            while not done.is_set():
                with room.turns(visit)():
                    calls.append("scan")
                    time.sleep(0.001)

    scans = [threading.Thread(target=scan, daemon=True) for _ in range(3)]
    for thread in scans:
        thread.start()
    wait_until(lambda: len(calls) > 3, "the scans are under way")
    for _ in range(20):
        before = len(calls)
        with arrived(room, visit_of("one")) as visit, room.turns(visit)():
            assert len(calls) - before <= 2
            calls.append("one")
    done.set()
    for thread in scans:
        thread.join(60)


@pytest.mark.fault("F25")
def test_sixty_callers_get_the_same_share() -> None:
    room, counts, stop = Room(1, 100), Counter[int](), threading.Event()
    together = threading.Barrier(61)

    def call(caller: int) -> None:
        together.wait()
        while not stop.is_set():
            with arrived(room, visit_of(caller)) as visit, room.turns(visit)():
                counts[caller] += 1
                time.sleep(0.001)

    threads = [threading.Thread(target=call, args=(caller,), daemon=True) for caller in range(60)]
    for thread in threads:
        thread.start()
    together.wait()
    wait_until(lambda: min(counts[caller] for caller in range(60)) >= 5, "each has had some turns")
    stop.set()
    for thread in threads:
        thread.join(60)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_a_caller_gains_nothing_for_later_by_having_stayed_away() -> None:
    queues = Queues()
    for i in range(100):
        queues.add(Waiter("often", i))
        assert queues.first() is not None
        queues.pop()
    for i in range(4):
        queues.add(Waiter("seldom", i))
        queues.add(Waiter("often", i))
    found = []
    while queues.first() is not None:
        found.append(queues.pop().caller)
    assert found == ["seldom", "often"] * 4


def test_who_was_served_last_comes_after_who_was_not_and_of_others_who_came_first() -> None:
    queues = Queues()
    for caller in ("again", "other"):
        queues.add(Waiter(caller, None))
    queues.pop()
    for caller in ("again", "new"):
        queues.add(Waiter(caller, None))
    assert [queues.pop().caller for _ in range(3)] == ["other", "new", "again"]
    for _ in range(9):
        queues.add(Waiter("often", None))
        queues.pop()
    for caller in ("again", "newest"):  # neither has been served lately
        queues.add(Waiter(caller, None))
    assert [queues.pop().caller for _ in range(2)] == ["again", "newest"]


def test_a_queue_whose_callers_have_all_gone_is_passed_over() -> None:
    queues = Queues()
    waiters = [Waiter(caller, None) for caller in "aab"]
    for waiter in waiters:
        queues.add(waiter)
    for waiter in waiters[:2]:
        queues.remove(waiter)
    assert queues.first() is waiters[2]
    queues.add(waiters[0])
    assert [queues.pop() for _ in range(2)] == [waiters[2], waiters[0]]
    assert (queues.first(), bool(queues)) == (None, False)


@pytest.mark.fault("F25")
def test_in_a_full_room_the_caller_of_most_makes_way_for_another(order: list[int]) -> None:
    room = Room(1, 4)
    visitors = [Visitor(room, order, 0, caller=1)]
    visitors += [Visitor(room, order, i, caller=1) for i in range(1, 5)]
    with pytest.raises(PoolBusyError):
        room.arrive(visit_of(1))
    newcomer = Visitor(room, order, 9, caller=2)
    wait_until(lambda: visitors[4].error == "POOL_BUSY", "the last of the many has to go")
    assert (newcomer.error, room.load) == ("", 5)
    for visitor in [*visitors, newcomer]:
        visitor.leave.set()
    for visitor in [*visitors, newcomer]:
        visitor.join(60)
    assert order == [0, 1, 9, 2, 3]


def test_one_that_is_to_be_alone_waits_for_an_empty_room_and_keeps_it_so(order: list[int]) -> None:
    room = Room(2, 100)
    first, second = (Visitor(room, order, i) for i in range(2))
    alone, after = Visitor(room, order, 2, is_alone=True), Visitor(room, order, 3)
    first.leave.set()
    first.join(60)
    assert order == [0, 1], "there is room for one, not for one alone"
    second.leave.set()
    wait_until(lambda: order == [0, 1, 2], "it is in")
    assert len(room.running()) == 1
    alone.leave.set()
    wait_until(lambda: order == [0, 1, 2, 3], "the next one is in")
    after.leave.set()
    after.join(60)


def test_who_watches_is_told_of_each_call() -> None:
    seen: list[object] = []

    @contextlib.contextmanager
    def inside(batches: Sequence[tuple[int, int]]) -> Iterator[None]:
        seen.append(list(batches))
        yield
        seen.append("left")

    room = Room(1, 4, inside=inside)
    with arrived(room, visit_of(seq=5)) as visit:
        for _ in range(2):
            with room.turns(visit)():
                seen.append("in")
    assert seen == [[(1, 5)], "in", "left"] * 2


def late() -> PredictTimeoutError:
    return PredictTimeoutError(WHAT, "it took too long")


def test_a_call_in_python_that_takes_too_long_is_ended_and_the_room_goes_on() -> None:
    room, told, raised = Room(1, 4), list[SparkModelError](), list[BaseException]()

    def call() -> None:
        visit = visit_of()
        visit.fail = told.append
        try:
            with arrived(room, visit), room.turns(visit)():
                while True:
                    time.sleep(0.001)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: len(room.running()) == 1, "it is in the model")
    assert not room.end_overdue(3600.0, late())
    wait_until(lambda: not room.end_overdue(0.01, late()) and bool(told), "it is told")
    thread.join(60)
    assert [type(error) for error in (*told, *raised)] == [PredictTimeoutError] * 2
    assert (room.load, room.running()) == (0, [])
    with arrived(room, visit_of()) as visit, room.turns(visit)():
        pass


def test_a_call_that_does_not_end_is_found_stuck() -> None:
    room, go = Room(1, 4), threading.Event()
    raised: list[BaseException] = []

    def call() -> None:
        try:
            with arrived(room, visit_of()) as visit, room.turns(visit)():
                go.wait()  # in native code: nothing is raised in it
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: len(room.running()) == 1, "it is in the model")
    wait_until(lambda: room.end_overdue(0.01, late()), "it is stuck")
    assert len(room.running()) == 1
    go.set()
    thread.join(60)
    assert [type(error) for error in raised] == [PredictTimeoutError]
    assert room.running() == []


def test_many_calls_that_end_when_they_are_struck_leave_nothing_behind() -> None:
    """The exception may come at any step of a thread, also on its way out: the room is in order whatever it hits."""
    room, stop, ends = Room(4, 100), threading.Event(), Counter[str]()

    def call(caller: int) -> None:
        while not stop.is_set():
            try:
                with arrived(room, visit_of(caller)) as visit, room.turns(visit)():
                    for _ in range(20):
                        sum(range(50))
                ends["well"] += 1
            except SparkModelError:
                ends["struck"] += 1

    threads = [threading.Thread(target=call, args=(caller,), daemon=True) for caller in range(6)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        room.end_overdue(0.0, late())
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert ends["struck"] > 0
    assert (room.load, room.running()) == (0, [])


def test_what_was_not_raised_in_time_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that ends at the very moment at which it is to be ended: nothing is raised in its thread later."""
    done: list[str] = []
    monkeypatch.setattr(turns, "strike", lambda thread: done.append("strike"))
    monkeypatch.setattr(turns, "spare", lambda thread: done.append("spare"))
    room = Room(1, 4)
    with arrived(room, visit_of()) as visit, pytest.raises(PredictTimeoutError), room.turns(visit)():
        assert not room.end_overdue(-1.0, late())
    assert done == ["strike", "spare"]


def test_one_that_was_struck_on_its_way_out_leaves_the_room_with_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "strike", lambda thread: None)
    room = Room(1, 4)
    with arrived(room, visit_of()) as visit:
        room.turns(visit)().__enter__()  # and it does not get to the end of this
        room.end_overdue(-1.0, late())
    assert (room.load, room.running()) == (0, [])


class Leaving(Visit):
    """A batch whose turn comes, or whose time is over, as it is looked at: its thread lets go without the lock."""

    looks = 0

    @property  # type: ignore[override]
    def waiter(self) -> Waiter | None:
        type(self).looks += 1
        return Waiter(self.caller, None) if self.looks <= 2 else None

    @waiter.setter
    def waiter(self, waiter: Waiter | None) -> None:
        pass


def test_one_that_goes_as_it_is_to_make_room_costs_who_comes_nothing() -> None:
    room = Room(1, 1)
    for seq in (1, 2):
        room.arrive(Leaving(WHAT, "many", (1, seq), math.inf, lambda: False, lambda error: None))
    room.arrive(visit_of("few"))
    assert room.load == 3
