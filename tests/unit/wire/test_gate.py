# SPDX-License-Identifier: Apache-2.0
"""The way into a model: in order, as wide as it is set, and with a word on how long batches wait."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import pytest

from sparkmodel.errors import PoolBusyError, SparkModelError
from sparkmodel.wire.gate import Gate
from tests.unit.wire.toys import wait_until


class Visitor(threading.Thread):
    """Stays in the model until it is let go."""

    def __init__(self, gate: Gate, order: list[int], number: int) -> None:
        super().__init__(daemon=True)
        self.leave, self.gone, self.error = threading.Event(), False, ""
        self._gate, self._order, self._number = gate, order, number
        before = gate.load
        self.start()
        wait_until(lambda: gate.load > before or bool(self.error), "it stands at the gate")

    def run(self) -> None:
        try:
            with self._gate.enter("Cannot score", math.inf, lambda: self.gone):
                self._order.append(self._number)
                self.leave.wait()
        except SparkModelError as error:
            self.error = error.condition


@pytest.fixture
def order() -> list[int]:
    """Who has entered, in order."""
    return []


@pytest.fixture
def crowd(order: list[int]) -> Iterator[tuple[Gate, list[Visitor]]]:
    """Five who want into a gate for one."""
    gate = Gate(1, 4)
    visitors = [Visitor(gate, order, number) for number in range(5)]
    yield gate, visitors
    for visitor in visitors:
        visitor.leave.set()
    for visitor in visitors:
        visitor.join(60)
    assert gate.load == 0


Crowd = tuple[Gate, list[Visitor]]


def test_those_who_wait_enter_in_the_order_in_which_they_came(crowd: Crowd, order: list[int]) -> None:
    for number, visitor in enumerate(crowd[1]):
        wait_until(lambda number=number: order == list(range(number + 1)), "the next one is in")  # type: ignore[misc]
        visitor.leave.set()


def test_a_wider_gate_lets_those_in_who_wait_and_a_narrower_one_none_out(crowd: Crowd, order: list[int]) -> None:
    gate, visitors = crowd
    gate.resize(3, 4)
    wait_until(lambda: sorted(order) == [0, 1, 2], "three are in")
    gate.resize(1, 4)
    visitors[0].leave.set()
    visitors[1].leave.set()
    wait_until(lambda: gate.load == 3, "two have left")
    assert sorted(order) == [0, 1, 2], "one is inside still"
    visitors[2].leave.set()
    wait_until(lambda: order[3:] == [3], "the next one is in")


def test_a_longer_queue_takes_more(crowd: Crowd, order: list[int]) -> None:
    gate, visitors = crowd
    with pytest.raises(PoolBusyError, match="5 batches wait"), gate.enter("Cannot score", math.inf, lambda: False):
        pass
    gate.resize(1, 5)
    visitors.append(Visitor(gate, order, 5))
    assert gate.load == 6


def test_one_that_leaves_the_queue_lets_the_next_one_move_up(crowd: Crowd, order: list[int]) -> None:
    gate, visitors = crowd
    visitors[1].gone = True
    wait_until(lambda: gate.load == 4, "it has left")
    assert visitors[1].error == "WORKER_STOPPING"
    visitors[0].leave.set()
    wait_until(lambda: order == [0, 2], "the next one is in")


def test_the_time_that_batches_wait_is_known_while_they_do_and_after(crowd: Crowd) -> None:
    gate, visitors = crowd
    first = gate.waited_s
    wait_until(lambda: gate.waited_s > first, "it grows while they wait")
    assert 0 < gate.oldest_wait_s <= gate.waited_s
    for visitor in visitors:
        visitor.leave.set()
    wait_until(lambda: gate.load == 0, "all have been in")
    assert gate.oldest_wait_s == 0
    assert gate.waited_s == gate.waited_s > first, "and stands still"


def test_nobody_waits_at_an_empty_gate() -> None:
    gate = Gate(1, 0)
    with gate.enter("Cannot score", math.inf, lambda: False):
        pass
    assert (gate.waited_s, gate.oldest_wait_s) == (0, 0)
