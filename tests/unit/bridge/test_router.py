# SPDX-License-Identifier: Apache-2.0
"""The bridge chooses among workers by the rule of sparkmodel/wire/router.py."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from sparkmodel.wire.directory import Directory, Revision, Served
from sparkmodel.wire.pace import Told
from sparkmodel.wire.router import Router
from tests.bridge import Jvm
from tests.unit.wire.toys import listing


def far(port: int, **state: Any) -> dict[str, Any]:
    return {"host": "far", "port": port, **state}


def near(port: int, **state: Any) -> dict[str, Any]:
    return {"host": "near", "port": port, **state}


# workers as a client sees them, and which it picks; `seconds`: that a batch is in the model, learned `learned_s` ago
CASES: dict[str, tuple[list[dict[str, Any]], set[int]]] = {
    "nobody": ([], set()),
    "one": ([far(1, in_flight=9)], {1}),
    "equal ones": ([far(1), far(2), far(3)], {1, 2, 3}),
    "fewer own batches": ([far(1, in_flight=1), far(2)], {2}),
    "own batches are in the count of the worker": ([far(1, in_flight=2, load=2), far(2, in_flight=3, load=1)], {1}),
    "others' batches count as own ones": ([far(1, load=3), far(2, in_flight=2)], {2}),
    "the best of three": ([far(1), far(2, in_flight=1), far(3, in_flight=2)], {1}),
    "a slow one gets what it can do": ([far(1, seconds=0.1, in_flight=8), far(2, seconds=1.0)], {1}),
    "and no less than that": ([far(1, seconds=0.1, in_flight=10), far(2, seconds=1.0)], {2}),
    "one that is not known is as the fastest": ([far(1, seconds=1), far(2, seconds=0.5), far(3, in_flight=1)], {2}),
    "and is tried": ([far(1, seconds=0.5, in_flight=1), far(2)], {2}),
    "differences below 0.1 ms do not matter": ([far(1, seconds=1e-6), far(2, seconds=9e-5)], {1, 2}),
    "what is known of one that gets nothing grows old": (
        [far(1, seconds=0.01), far(2, seconds=0.02, learned_s=0.9), far(3, seconds=0.02, learned_s=1.1)],
        {3},
    ),
    "what a worker tells": ([far(1, told_s=0.4), far(2, told_s=0.02)], {2}),
    "one of two tells that it is slow": ([far(1, told_s=0.4), far(2)], {2}),
    "what it tells gets old": ([far(1, told_s=0.4, told_age_s=8.1), far(2, seconds=0.02)], {1}),
    "not before": ([far(1, told_s=0.4, told_age_s=7.9), far(2, seconds=0.02)], {2}),
    "what was seen counts more": ([far(1, seconds=0.1, told_s=9.0), far(2, seconds=0.2)], {1}),
    "unless it is old": ([far(1, seconds=0.1, learned_s=3, told_s=9.0, told_age_s=2), far(2, seconds=0.2)], {2}),
    "what is told takes no place of what is newer": (
        [far(1, seconds=0.1, learned_s=2.1, told_s=9.0, told_age_s=3), far(2, seconds=0.2)],
        {1},
    ),
    "what is seen takes the place of what was told": ([far(1, told_s=9.0, then_s=0.1), far(2, seconds=0.2)], {1}),
    "one that was quick counts as that although it is old": (
        [far(1, seconds=0.02, load=24, learned_s=3), far(2, seconds=0.4, load=22)],
        {1},
    ),
    "later for a slow one": ([far(1, seconds=0.1), far(2, seconds=2, learned_s=39)], {1}),
    "but not while a batch is there": ([far(1, seconds=1), far(2, seconds=3, learned_s=99, in_flight=1)], {1}),
    "one failed": ([far(1, failed_s=0.5), far(2, in_flight=9)], {2}),
    "all failed": ([far(1, failed_s=0.5), near(2, failed_s=0.1)], set()),
    "one failed long ago": ([far(1, failed_s=1.5), far(2, in_flight=9)], {1}),
    "of one that failed nothing is known any more": (
        [far(1, seconds=9.0, failed_s=1.5), far(2, seconds=1.0)],
        {1},
    ),
    "a near one is free": ([near(1), far(2), far(3)], {1}),
    "a near one has one": ([near(1, in_flight=1), far(2), far(3)], {1}),
    "a near one has two": ([near(1, in_flight=2), far(2), far(3)], {2, 3}),
    "a near one is half as fast": ([near(1, seconds=0.2), far(2, seconds=0.1)], {1}),
    "a near one is slower than that": ([near(1, seconds=0.21), far(2, seconds=0.1)], {2}),
    "a near one failed": ([near(1, failed_s=0.5), far(2), far(3)], {2, 3}),
    "of two near ones the better": ([near(1), near(2, in_flight=1), far(3)], {1}),
    "of two near ones that which is worth it": ([near(1, in_flight=2), near(2, in_flight=1), far(3)], {2}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_picks_those_that_it_should(case: str, jvm: Jvm) -> None:
    workers, expected = CASES[case]
    assert set(jvm.call("picks", workers=workers)) == expected


@pytest.mark.parametrize("case", CASES)
def test_so_does_python(case: str) -> None:
    workers, expected = CASES[case]
    now = 0.0
    router: Any = Router(lambda: now, is_local=lambda host: host == "near")
    router.update(listing(1, [(worker["host"], worker["port"]) for worker in workers]))
    for worker in workers:
        route = router.routes[worker["host"], worker["port"]]
        now = -worker.get("learned_s", 0)
        router.learn(route, worker.get("load", 0), worker.get("seconds"))
        now = 0.0
        if "told_s" in worker:
            router.hear(route, 0, Told(worker["told_s"], worker.get("told_age_s", 0)))
        if "then_s" in worker:
            router.learn(route, 0, worker["then_s"])
        route.in_flight = worker.get("in_flight", 0)
        if "failed_s" in worker:
            now = -worker["failed_s"]
            router.avoid(route.endpoint)
    now = 0.0
    picked = [router.pick(1) for _ in range(200)]
    assert {route.endpoint[1] for route in picked if route is not None} == expected


def test_suspects_gather_on_the_last_worker_that_works(jvm: Jvm) -> None:
    workers = [near(1), far(2), near(3, in_flight=9, load=9), far(4)]
    assert set(jvm.call("picks", workers=workers, suspects=True)) == {3}
    workers[2]["failed_s"] = 0.5
    assert set(jvm.call("picks", workers=workers, suspects=True)) == {1}


def test_of_workers_of_which_nothing_is_known_one_more_is_asked_where_one_is_slow(jvm: Jvm) -> None:
    workers = [near(1, told_s=0.4), far(2), far(3)]
    assert set(jvm.call("picks", workers=workers)) == {1}
    assert set(jvm.call("picks", workers=workers, asked=[1])) == {2, 3}
    workers[1]["told_s"] = 0.02
    assert set(jvm.call("picks", workers=workers, asked=[1, 2])) == {2}


def test_what_is_known_of_a_worker_follows_its_last_answers(jvm: Jvm) -> None:
    assert jvm.call("learned", seconds=[1.0]) == pytest.approx(1.0)
    assert jvm.call("learned", seconds=[1.0, 2.0]) == pytest.approx(1.3)
    assert jvm.call("learned", seconds=[1.0, 2.0, 0.0]) == pytest.approx(0.91)


def test_only_workers_of_the_version_are_picked_and_none_that_was_tried_in_vain(jvm: Jvm) -> None:
    workers = [near(1, version=1), far(2, version=2, in_flight=9), far(3, version=2, in_flight=9)]
    picked = {version: set(jvm.call("picks", workers=workers, of=version)) for version in (1, 2, 3)}
    assert picked == {1: {1}, 2: {2, 3}, 3: set()}
    assert set(jvm.call("picks", workers=workers, of=2, **{"except": [2]})) == {3}
    assert set(jvm.call("picks", workers=workers, of=2, **{"except": [2, 3]})) == set()


def served(version: int, weight: float, *accepts: str, workers: int = 1) -> Served:
    return Served(version, tuple(("far", 10 * version + i) for i in range(workers)), weight, accepts)


CHOICES: dict[str, tuple[tuple[Served, ...], str, list[int], set[int]]] = {
    "nothing": ((), "", [], set()),
    "those with a weight": ((served(1, 0.0), served(2, 0.5), served(3, 0.5)), "", [], {2, 3}),
    "those that answer the plan": ((served(1, 1.0, "a"), served(2, 1.0, "a", "b")), "b", [], {2}),
    "any for a plan that asks for nothing": ((served(1, 1.0, "a"), served(2, 1.0, "b")), "", [], {1, 2}),
    "none for a plan that none answers": ((served(1, 1.0, "a"), served(2, 1.0, "b")), "c", [], set()),
    "those with workers": ((served(1, 1.0, workers=0), served(2, 0.1)), "", [], {2}),
    "not one whose workers all fail": ((served(1, 1.0, workers=2), served(2, 0.1)), "", [10, 11], {2}),
    "one of which a worker is left": ((served(1, 1.0, workers=2),), "", [10], {1}),
}


@pytest.mark.parametrize("case", CHOICES)
def test_a_call_that_is_held_to_no_version_gets_one_that_suits(case: str, jvm: Jvm) -> None:
    entries, digest, failed, expected = CHOICES[case]
    directory = Directory(Revision(1, 1), "ready", 1, entries)
    chosen = jvm.call("chosen", directory=directory.to_dict(), digest=digest, **{"except": failed})
    assert set(map(int, chosen)) == expected
    router = Router()
    router.update(directory)
    by_python = {router.choose(digest, [("far", port) for port in failed]) for _ in range(200)}
    assert by_python == (expected or {None})


def test_a_version_is_chosen_by_its_weight(jvm: Jvm) -> None:
    directory = Directory(Revision(1, 1), "ready", 1, (served(1, 0.9), served(2, 0.1)))
    chosen = jvm.call("chosen", directory=directory.to_dict(), digest="")
    assert 20 < chosen["2"] < 300, "of 1,000"


def test_an_address_of_this_machine_is_known(jvm: Jvm) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: the kernel only chooses an address
        own = probe.getsockname()[0]
    known = {host: jvm.call("is_here", host=host) for host in ("127.0.0.1", "localhost", own, "192.0.2.1", "a-name")}
    assert known == {"127.0.0.1": True, "localhost": True, own: True, "192.0.2.1": False, "a-name": False}
