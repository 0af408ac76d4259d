# SPDX-License-Identifier: Apache-2.0
"""How soon a dead worker may be replaced."""

from __future__ import annotations

import pytest

from sparkmodel.pool.budget import RestartBudget
from tests.unit.pool.toys import Clock


@pytest.mark.fault("F28")
def test_a_few_restarts_happen_at_once_and_then_the_pauses_grow_to_a_limit() -> None:
    budget = RestartBudget(burst=3, window_s=60, max_pause_s=10, clock=Clock())
    assert [budget.take() for _ in range(9)] == [0, 0, 0, 1, 2, 4, 8, 10, 10]


def test_restarts_are_forgotten_when_they_leave_the_window() -> None:
    clock = Clock()
    budget = RestartBudget(burst=2, window_s=60, max_pause_s=30, clock=clock)
    assert [budget.take() for _ in range(3)] == [0, 0, 1]
    clock.now = 59.9
    assert budget.take() == 2
    clock.now = 60.0  # the first three are a window old, the fourth is not
    assert budget.take() == 0
    assert budget.take() == 1
    clock.now = 1000.0
    assert budget.take() == 0


def test_a_worker_that_dies_now_and_then_is_always_replaced_at_once() -> None:
    clock = Clock()
    budget = RestartBudget(burst=5, window_s=60, clock=clock)
    for _ in range(1000):
        assert budget.take() == 0
        clock.now += 12.5


def test_the_pause_does_not_overflow_in_a_pool_that_dies_for_days() -> None:
    budget = RestartBudget(burst=1, max_pause_s=30, clock=Clock())
    assert {budget.take() for _ in range(900)} >= {0.0, 30.0}


def test_the_defaults_forgive_five_a_minute() -> None:
    budget = RestartBudget()
    assert [budget.take() for _ in range(6)] == [0, 0, 0, 0, 0, 1]
