# SPDX-License-Identifier: Apache-2.0
"""The choice among workers, with a clock that the test moves."""

from __future__ import annotations

import socket

import pytest

from sparkmodel.wire.directory import Directory, Revision, Served
from sparkmodel.wire.pace import Told
from sparkmodel.wire.router import Route, Router, is_here
from tests.unit.wire.toys import listing

A, B, C = ("h", 1), ("h", 2), ("h", 3)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """Stands for a kept connection."""


def router(*endpoints: tuple[str, int], clock: Clock | None = None) -> Router:
    made = Router(clock or Clock())
    made.update(listing(1, endpoints, "ready", 1))
    return made


def picked(routes: Router, times: int = 100) -> set[tuple[str, int]]:
    """The endpoints of so many choices."""
    return {routes.pick(1).endpoint for _ in range(times)}  # type: ignore[union-attr]


def test_nothing_is_picked_from_an_empty_pool() -> None:
    assert Router().pick(1) is None
    assert router().pick(1) is None


def test_the_worker_with_fewer_batches_before_is_picked() -> None:
    routes = router(A, B)
    routes.routes[A].in_flight = 1
    assert picked(routes) == {B}
    routes.hear(routes.routes[B], 50, None)
    assert picked(routes) == {A}, "other callers' batches count as well"
    routes.hear(routes.routes[A], 1, None)
    routes.hear(routes.routes[B], 1, None)
    routes.routes[B].in_flight = 1
    assert picked(routes) == {A, B}, "a worker's count has our own in it"


def test_a_slow_worker_is_picked_when_the_fast_one_has_as_much_before_it() -> None:
    routes = router(A, B)
    routes.learn(routes.routes[A], 0, 0.1)
    routes.learn(routes.routes[B], 0, 1.95)
    for before in range(19):
        routes.routes[A].in_flight = before
        assert picked(routes, 5) == {A}
    routes.routes[A].in_flight = 19
    assert picked(routes, 5) == {B}


def test_one_that_was_busy_once_and_of_which_nothing_else_is_known_is_looked_at_again() -> None:
    """The others were there as it was asked, before its first batch: a client stayed with the slow one for good."""
    clock = Clock()
    routes = router(A, B, clock=clock)
    slow, fast = routes.routes[A], routes.routes[B]
    routes.hear(fast, 8, None)
    routes.learn(slow, 0, 0.1)
    assert picked(routes) == {A}
    for _ in range(7):
        clock.now += 0.1
        routes.learn(slow, 0, 0.1)
        assert picked(routes) == {A}
    clock.now += 0.101
    assert picked(routes) == {B}, "eight batches are worked off by then, if they take as long as the slow one's"
    fast.in_flight = 1
    assert picked(routes) == {A}, "what is there from here is"


def test_one_batch_that_was_late_is_not_held_against_a_quick_worker() -> None:
    """As when the machine stood still for a second: six seconds of batches went to the slow one."""
    routes = router(A, B)
    slow, fast = routes.routes[A], routes.routes[B]
    routes.learn(slow, 0, 0.1)
    routes.learn(fast, 0, 0.005)
    routes.learn(fast, 0, 1.0)
    assert picked(routes) == {B}
    assert fast.seconds == pytest.approx(0.005 * (0.7 + 0.3 * 8))
    routes.learn(fast, 0, 1.0)
    routes.learn(fast, 0, 1.0)
    assert picked(routes) == {A}, "three in a row are no accident"


def test_what_is_known_of_a_worker_follows_it_and_a_new_one_counts_as_the_fastest() -> None:
    routes = router(A, B, C)
    a, b = routes.routes[A], routes.routes[B]
    routes.learn(a, 0, 1.0)
    routes.learn(a, 0, 2.0)
    assert a.seconds == pytest.approx(1.3)
    routes.learn(a, 3, None)
    assert (a.seconds, a.load) == (pytest.approx(1.3), 3), "an answer without a prediction says nothing of the speed"
    routes.learn(a, 0, None)
    routes.learn(b, 0, 9.0)
    assert picked(routes) == {C}, "and of equal ones it goes first"
    routes.routes[C].in_flight = 1
    assert picked(routes) == {A}
    routes.routes[C].in_flight = 0
    routes.avoid(B, seconds=0)
    assert picked(routes) == {B, C}, "one that was left alone may be another one now"


def test_where_only_a_slow_worker_is_known_the_other_one_is_tried_at_once() -> None:
    routes = router(A, B)
    routes.learn(routes.routes[A], 0, 9.0)
    assert picked(routes) == {B}


def test_what_a_worker_tells_is_taken_where_nothing_newer_was_seen() -> None:
    clock = Clock()
    routes = router(A, B, C, clock=clock)
    a, b, c = (routes.routes[endpoint] for endpoint in (A, B, C))
    assert routes.hear(a, 0, Told(0.4, 3.0)), "it is slow: another one may be better"
    assert not routes.hear(b, 0, Told(0.009, 0.0)), "a question costs as much as it may win"
    assert routes.hear(c, 1, None), "it has something to do"
    assert (a.seconds, a.learned) == (0.4, 97.0)
    assert (b.seconds, c.seconds, c.load) == (0.009, None, 1)
    routes.learn(a, 0, 0.1)
    assert a.seconds == pytest.approx(0.1), "what is seen takes the place of what was told, and is not mixed with it"
    routes.hear(a, 0, Told(5.0, 0.0))
    assert a.seconds == pytest.approx(0.1), "others' batches may be larger"
    clock.now += 10
    routes.hear(a, 0, Told(5.0, 10.5))
    assert a.seconds == pytest.approx(0.1), "that is older"
    routes.hear(a, 0, Told(5.0, 1.0))
    assert a.seconds == 5.0


def test_what_a_worker_told_gets_old_and_it_is_tried_again() -> None:
    clock = Clock()
    routes = router(A, B, clock=clock)
    routes.hear(routes.routes[B], 0, Told(0.4, 5.0))
    for seconds, expected in ((0.0, {A}), (2.9, {A}), (3.1, {B})):
        clock.now = 100.0 + seconds
        routes.learn(routes.routes[A], 0, 0.02)
        assert picked(routes) == expected, seconds
    routes.hear(routes.routes[B], 0, Told(0.4, 1.0))
    assert picked(routes) == {A}, "another client has tried it"
    routes.avoid(B, seconds=0)
    assert picked(routes) == {B}, "it may be another one now"


def test_one_that_is_slow_and_was_free_is_asked_what_is_before_now() -> None:
    clock = Clock()
    routes = router(A, B, clock=clock)
    a, b = routes.routes[A], routes.routes[B]
    for route, seconds in ((a, 0.02), (b, 0.4)):
        routes.learn(route, 0, seconds)
        assert not routes.is_doubtful(route, 1), "it has just told it"
    clock.now += 0.02
    assert routes.is_doubtful(b, 1), "all who saw it free would go there at once"
    assert not routes.is_doubtful(a, 1), "it tells with each answer"
    a.in_flight = 50
    assert picked(routes) == {B}
    assert routes.hear(b, 9, None), "choose again"
    assert not routes.is_doubtful(b, 1)
    assert picked(routes) == {A}


def test_one_more_is_asked_after_one_that_was_slow_then_a_known_one_is_taken() -> None:
    routes = router(A, B, C)
    assert routes.is_doubtful(routes.routes[A], 1)
    routes.hear(routes.routes[A], 0, Told(0.4, 1.0))
    assert not routes.is_doubtful(routes.routes[A], 1)
    asked = {A}
    assert {routes.pick(1, (), asked).endpoint for _ in range(50)} == {B, C}  # type: ignore[union-attr]
    routes.hear(routes.routes[B], 0, Told(0.02, 1.0))
    asked.add(B)
    assert {routes.pick(1, (), asked).endpoint for _ in range(50)} == {B}  # type: ignore[union-attr]
    assert not routes.is_doubtful(routes.routes[C], 1, (A, B)), "there is no other one"


def test_a_worker_that_was_slow_gets_one_batch_after_a_while_to_show_that_it_is_not_any_more() -> None:
    clock = Clock()
    routes = router(A, B, clock=clock)
    b = routes.routes[B]
    routes.learn(b, 0, 2.0)
    for seconds, expected in ((0, {A}), (39, {A}), (41, {B})):
        clock.now = 100.0 + seconds
        routes.learn(routes.routes[A], 0, 0.1)
        assert picked(routes) == expected, seconds
    b.in_flight = 1
    assert picked(routes) == {A}, "one is enough"


def test_equal_workers_all_get_work() -> None:
    routes = router(A, B, C)
    assert {routes.pick(1).endpoint for _ in range(200)} == {A, B, C}  # type: ignore[union-attr]


@pytest.fixture
def near_and_far() -> Router:
    """A is on this host, B and C are not."""
    made = Router(Clock(), is_local=lambda host: host == "near")
    made.update(listing(1, (NEAR, B, C), "ready", 1))
    return made


NEAR = ("near", 1)


def test_a_worker_on_this_host_that_is_free_goes_first(near_and_far: Router) -> None:
    near = near_and_far.routes[NEAR]
    assert picked(near_and_far) == {NEAR}
    near.in_flight = 1
    assert picked(near_and_far) == {NEAR}, "the next batch is on its way while it scores one"
    near.in_flight = 2
    assert NEAR not in picked(near_and_far)


def test_a_worker_on_this_host_is_picked_while_it_costs_at_most_twice_the_least(near_and_far: Router) -> None:
    near, far = near_and_far.routes[NEAR], near_and_far.routes[B]
    near_and_far.hear(near, 1, None)
    assert picked(near_and_far) == {NEAR}
    near_and_far.hear(near, 2, None)
    assert picked(near_and_far) == {B, C}
    near_and_far.hear(near, 0, None)
    near_and_far.learn(near, 0, 1.9)
    near_and_far.learn(far, 0, 1.0)
    assert picked(near_and_far) == {NEAR}
    near_and_far.learn(near, 0, 9.0)
    assert picked(near_and_far) == {C}
    near_and_far.learn(near_and_far.routes[C], 0, 1.0)
    assert picked(near_and_far) == {B, C}


def test_a_slow_one_on_this_host_has_those_of_others_looked_at(near_and_far: Router) -> None:
    near_and_far.hear(near_and_far.routes[NEAR], 0, Told(0.4, 1.0))
    assert picked(near_and_far) == {NEAR}
    assert {near_and_far.pick(1, (), {NEAR}).endpoint for _ in range(50)} == {B, C}  # type: ignore[union-attr]


def test_of_several_workers_on_this_host_the_one_of_the_least_cost_is_picked() -> None:
    routes = Router(Clock(), is_local=lambda _: True)
    routes.update(listing(1, (A, B), "ready", 1))
    routes.hear(routes.routes[A], 2, None)
    routes.routes[B].in_flight = 1
    assert picked(routes) == {B}


def test_a_worker_that_is_silent_again_and_again_is_left_alone_for_longer() -> None:
    clock = Clock()
    routes = router(A, B, clock=clock)
    for rest in (1, 2, 4, 8, 16, 30, 30):
        routes.avoid(A, is_silent=True)
        clock.now += rest - 0.1
        assert picked(routes) == {B}
        clock.now += 0.2
        assert picked(routes) == {A, B}
    routes.learn(routes.routes[A], 0, None)
    routes.avoid(A, is_silent=True)
    clock.now += 1.1
    assert picked(routes) == {A, B}, "it has answered meanwhile"
    routes.avoid(A, is_silent=True)
    routes.avoid(B, is_silent=True)
    clock.now += 1.1
    assert picked(routes) == {B}, "where there is no other one it is tried again soon"


def test_a_worker_that_is_silent_for_days_is_tried_twice_a_minute() -> None:
    """As one that this host alone has no way to, for a stream that runs for months."""
    clock = Clock()
    routes = router(A, B, clock=clock)
    for _ in range(1100):
        routes.avoid(A, is_silent=True)
        clock.now += 30.1
    assert picked(routes) == {A, B}


def test_suspects_gather_on_the_last_worker_that_works() -> None:
    routes = router(C, A, ("g", 9), B)
    assert routes.last(1) is routes.routes[C]
    assert routes.last(1, {C}) is routes.routes[B]
    routes.avoid(C)
    assert routes.last(1) is routes.routes[B]
    assert routes.last(2) is None
    assert routes.has_other(A, 1)
    assert not routes.has_other(A, 1, {B, ("g", 9)})


def test_a_worker_on_this_host_that_failed_is_avoided_as_any(near_and_far: Router) -> None:
    near_and_far.avoid(NEAR)
    assert picked(near_and_far) == {B, C}


def test_an_address_of_this_machine_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_here("127.0.0.1")
    assert is_here("localhost")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: the kernel only chooses an address
        assert is_here(probe.getsockname()[0])
    assert not is_here("192.0.2.1"), "an address that documents use and machines do not"
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert not is_here("a-name")
    assert Route(A).is_local is False


@pytest.mark.fault("F15")
def test_an_avoided_worker_rests_for_a_while_and_comes_back() -> None:
    clock = Clock()
    routes = router(A, B, clock=clock)
    routes.avoid(A, seconds=1)
    assert {routes.pick(1).endpoint for _ in range(20)} == {B}  # type: ignore[union-attr]
    routes.avoid(B, seconds=5)
    assert routes.pick(1) is None
    clock.now += 1.5
    assert {routes.pick(1).endpoint for _ in range(20)} == {A}  # type: ignore[union-attr]
    assert routes.avoid(("other", 9)) == []


def test_only_a_newer_directory_is_taken() -> None:
    routes = router(A, B)
    routes.update(listing(1, (C,), "ready", 1))
    assert set(routes.routes) == {A, B}
    routes.update(listing(2, (C,), "ready", 2))
    assert set(routes.routes) == {C}
    routes.update(listing(1, (A,), "ready", 1))
    assert set(routes.routes) == {C}


def test_what_a_directory_takes_away_is_not_found_by_who_has_chosen_it_before() -> None:
    routes = router(A, B)
    chosen, kept = routes.routes[A], Kept()
    chosen.idle.append(kept)  # type: ignore[arg-type]
    assert routes.update(listing(2, (B,), "ready", 1)) == [kept]
    assert chosen.idle == [], "it would be closed by the one, and used by the other"


def test_a_worker_that_stays_keeps_what_is_known_of_it() -> None:
    routes = router(A, B)
    known = routes.routes[B]
    known.in_flight = 3
    routes.update(listing(2, (B, C), "ready", 1))
    assert routes.routes[B] is known
    assert routes.routes[C].in_flight == 0


def test_versions_are_chosen_by_weight_digest_and_whether_one_of_their_workers_works() -> None:
    routes = Router(Clock())
    served = (
        Served(1, (A,), 0.0, ("old", "new")),
        Served(2, (B,), 1.0, ("old",)),
        Served(3, (C,), 1.0, ("new",)),
        Served(4, (), 9.0, ("old", "new")),
    )
    routes.update(listing(1, served=served))
    assert {routes.choose("old") for _ in range(50)} == {2}
    assert {routes.choose("new") for _ in range(50)} == {3}
    assert {routes.choose("") for _ in range(100)} == {2, 3}
    assert routes.choose("unknown") is None
    assert routes.choose("old", failed={B}) is None, "a version without weight is for those that are held to it"
    assert routes.pick(1) is routes.routes[A]
    assert routes.pick(1, failed={A}) is None
    routes.avoid(C)
    assert routes.choose("new") is None


def test_a_later_masters_directory_is_newer_whatever_its_number() -> None:
    routes = router(A)
    newer = Directory(Revision(2, 0), "ready", 1, (Served(1, (B,)),))
    routes.update(newer)
    routes.update(listing(99, (C,)))
    assert routes.directory is newer
    assert set(routes.routes) == {B}
