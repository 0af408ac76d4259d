# SPDX-License-Identifier: Apache-2.0
"""The last half hour of each model, in rings."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from sparkmodel.rest.asked import Context, Scored
from sparkmodel.rest.console.live import BOUNDS_MS, KEPT_S, MODELS, STEP_S, Live, percentile

SCORED = Scored(values=pa.chunked_array([pa.array([1.0])]), version=1)


class Clock:
    """Stands until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(clock: Clock) -> Live:
    return Live(clock)


def call(
    live: Live, clock: Clock, model: str = "wine", ms: float = 1.0, status: int = 200, scored: bool = True
) -> None:
    """One request that is answered now."""
    context = Context(request_id="r", model=model, started=clock.now - ms / 1e3, scored=SCORED if scored else None)
    context.status = status
    live.tell(context)


def test_what_was_answered_is_shown_once_its_five_seconds_are_over(live: Live, clock: Clock) -> None:
    call(live, clock)
    assert live.told(10)["models"]["wine"]["requests"] == [0, 0]
    clock.now += STEP_S
    told = live.told(10)
    assert told["step_s"] == 5
    assert told["models"]["wine"]["requests"] == [0, 1]


def test_steps_without_answers_have_no_latency_rather_than_zero(live: Live, clock: Clock) -> None:
    call(live, clock)
    call(live, clock, status=503, scored=False)
    clock.now += STEP_S
    call(live, clock, status=503, scored=False)
    clock.now += STEP_S
    told = live.told(15)["models"]["wine"]
    assert told["requests"] == [0, 2, 1]
    assert told["errors"] == [0, 1, 1]
    assert [one is None for one in told["p50_ms"]] == [True, False, True]


@pytest.mark.parametrize(("status", "errors"), [(200, 0), (400, 0), (404, 0), (429, 1), (500, 1), (503, 1), (504, 1)])
def test_what_callers_did_wrong_is_no_error_of_the_model(live: Live, clock: Clock, status: int, errors: int) -> None:
    call(live, clock, status=status, scored=False)
    clock.now += STEP_S
    assert live.told(5)["models"]["wine"]["errors"] == [errors]


def test_a_place_in_the_ring_is_cleared_before_it_is_used_again(live: Live, clock: Clock) -> None:
    call(live, clock, ms=9000, status=200)
    call(live, clock, status=500)
    clock.now += KEPT_S
    call(live, clock, ms=1)
    clock.now += STEP_S
    told = live.told(KEPT_S)["models"]["wine"]
    assert sum(told["requests"]) == 1
    assert sum(told["errors"]) == 0
    assert told["p99_ms"][-1] < 2
    assert len(told["requests"]) == KEPT_S // STEP_S - 1


def test_percentiles_are_within_a_fifth(live: Live, clock: Clock) -> None:
    seeded = random.Random(5)
    taken = [seeded.lognormvariate(2, 1) for _ in range(3000)]
    for ms in taken:
        call(live, clock, ms=ms)
    clock.now += STEP_S
    told = live.told(5)["models"]["wine"]
    taken.sort()
    assert told["p50_ms"][0] == pytest.approx(taken[1499], rel=0.2)
    assert told["p99_ms"][0] == pytest.approx(taken[2969], rel=0.2)


def test_a_percentile_is_never_outside_of_what_was_counted() -> None:
    for place in range(len(BOUNDS_MS)):
        counts = [0] * len(BOUNDS_MS)
        counts[place] = 3
        found = percentile(counts, 0.99)
        assert found is not None
        assert (BOUNDS_MS[place - 1] if place else 0) < found <= BOUNDS_MS[place] + 0.001
    assert percentile([0] * len(BOUNDS_MS), 0.5) is None


def test_what_takes_longer_than_all_bounds_is_counted_in_the_last(live: Live, clock: Clock) -> None:
    call(live, clock, ms=500_000)
    clock.now += STEP_S
    assert live.told(5)["models"]["wine"]["p99_ms"] == [pytest.approx(BOUNDS_MS[-1], rel=0.001)]


def test_only_so_many_models_are_kept_those_that_were_called_last(live: Live, clock: Clock) -> None:
    """Ray's dashboard kept all that had ever been, until it had no memory left."""
    for number in range(MODELS + 50):
        call(live, clock, "wine")
        call(live, clock, f"m{number}")
    clock.now += STEP_S
    models = live.told(5)["models"]
    assert len(models) == MODELS
    assert models["wine"]["requests"] == [MODELS + 50]
    assert "m0" not in models


def test_requests_about_no_model_and_those_of_administrators_are_not_counted(live: Live, clock: Clock) -> None:
    call(live, clock, "")
    live.tell(Context(request_id="r", protocol="admin", model="wine", started=clock.now))
    clock.now += STEP_S
    assert live.told(5)["models"] == {}
