# SPDX-License-Identifier: Apache-2.0
"""The choice among workers, with a clock that the test moves."""

from __future__ import annotations

import socket

import pytest

from sparkmodel.wire.directory import Directory, Revision, Served
from sparkmodel.wire.router import Route, Router, is_here
from tests.unit.wire.toys import listing

A, B, C = ("h", 1), ("h", 2), ("h", 3)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def router(*endpoints: tuple[str, int], clock: Clock | None = None) -> Router:
    made = Router(clock or Clock())
    made.update(listing(1, endpoints, "ready", 1))
    return made


def test_nothing_is_picked_from_an_empty_pool() -> None:
    assert Router().pick(1) is None
    assert router().pick(1) is None


def test_the_worker_with_fewer_own_batches_is_picked_then_the_one_with_less_load() -> None:
    routes = router(A, B)
    routes.routes[A].in_flight = 1
    routes.routes[B].load = 50
    assert {routes.pick(1).endpoint for _ in range(20)} == {B}  # type: ignore[union-attr]
    routes.routes[B].in_flight = 1
    assert {routes.pick(1).endpoint for _ in range(20)} == {A}  # type: ignore[union-attr]


def test_equal_workers_all_get_work() -> None:
    routes = router(A, B, C)
    assert {routes.pick(1).endpoint for _ in range(200)} == {A, B, C}  # type: ignore[union-attr]


def picked(routes: Router, times: int = 100) -> set[tuple[str, int]]:
    """The endpoints of so many choices."""
    return {routes.pick(1).endpoint for _ in range(times)}  # type: ignore[union-attr]


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


def test_a_worker_on_this_host_that_lets_batches_wait_has_no_privilege_but_in_a_tie(near_and_far: Router) -> None:
    near = near_and_far.routes[NEAR]
    near.load = 1
    assert picked(near_and_far) == {NEAR, B, C}, "two others are drawn at times"
    near_and_far.update(listing(2, (NEAR, B)))
    assert picked(near_and_far) == {NEAR}, "as many own batches: the near one"
    near.in_flight = 1
    assert picked(near_and_far) == {B}, "fewer own batches, although far"


def test_of_several_workers_on_this_host_the_one_with_fewer_own_batches_is_picked() -> None:
    routes = Router(Clock(), is_local=lambda _: True)
    routes.update(listing(1, (A, B), "ready", 1))
    routes.routes[A].load = 1  # when it last answered: it may have been a batch of ours
    routes.routes[B].in_flight = 1
    assert picked(routes) == {A}


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
