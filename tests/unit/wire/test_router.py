# SPDX-License-Identifier: Apache-2.0
"""The choice among workers, with a clock that the test moves."""

from __future__ import annotations

from sparkmodel.wire.router import Router
from sparkmodel.wire.service import Directory

A, B, C = ("h", 1), ("h", 2), ("h", 3)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def router(*endpoints: tuple[str, int], clock: Clock | None = None) -> Router:
    made = Router(clock or Clock())
    made.update(Directory(1, endpoints, "ready", 1))
    return made


def test_nothing_is_picked_from_an_empty_pool() -> None:
    assert Router().pick() is None
    assert router().pick() is None


def test_the_worker_with_fewer_own_batches_is_picked_then_the_one_with_less_load() -> None:
    routes = router(A, B)
    routes.routes[A].in_flight = 1
    routes.routes[B].load = 50
    assert {routes.pick().endpoint for _ in range(20)} == {B}  # type: ignore[union-attr]
    routes.routes[B].in_flight = 1
    assert {routes.pick().endpoint for _ in range(20)} == {A}  # type: ignore[union-attr]


def test_equal_workers_all_get_work() -> None:
    routes = router(A, B, C)
    assert {routes.pick().endpoint for _ in range(200)} == {A, B, C}  # type: ignore[union-attr]


def test_an_avoided_worker_rests_for_a_while_and_comes_back() -> None:
    clock = Clock()
    routes = router(A, B, clock=clock)
    routes.avoid(A, seconds=1)
    assert {routes.pick().endpoint for _ in range(20)} == {B}  # type: ignore[union-attr]
    routes.avoid(B, seconds=5)
    assert routes.pick() is None
    clock.now += 1.5
    assert {routes.pick().endpoint for _ in range(20)} == {A}  # type: ignore[union-attr]
    assert routes.avoid(("other", 9)) == []


def test_only_a_newer_directory_is_taken() -> None:
    routes = router(A, B)
    routes.update(Directory(1, (C,), "ready", 1))
    assert set(routes.routes) == {A, B}
    routes.update(Directory(2, (C,), "ready", 2))
    assert set(routes.routes) == {C}
    routes.update(Directory(1, (A,), "ready", 1))
    assert set(routes.routes) == {C}


def test_a_worker_that_stays_keeps_what_is_known_of_it() -> None:
    routes = router(A, B)
    known = routes.routes[B]
    known.in_flight = 3
    routes.update(Directory(2, (B, C), "ready", 1))
    assert routes.routes[B] is known
    assert routes.routes[C].in_flight == 0
