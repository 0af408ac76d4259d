# SPDX-License-Identifier: Apache-2.0
"""The bridge chooses among workers by the rule of sparkmodel/wire/router.py."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from sparkmodel.wire.directory import Directory, Revision, Served
from sparkmodel.wire.router import Router
from tests.bridge import Jvm
from tests.unit.wire.toys import listing


def far(port: int, **state: Any) -> dict[str, Any]:
    return {"host": "far", "port": port, **state}


def near(port: int, **state: Any) -> dict[str, Any]:
    return {"host": "near", "port": port, **state}


CASES: dict[str, tuple[list[dict[str, Any]], set[int]]] = {
    "nobody": ([], set()),
    "one": ([far(1, in_flight=9)], {1}),
    "equal ones": ([far(1), far(2), far(3)], {1, 2, 3}),
    "fewer own batches": ([far(1, in_flight=1), far(2, load=50)], {2}),
    "then less load": ([far(1, in_flight=1, load=2), far(2, in_flight=1, load=1)], {2}),
    "never the worst of three": ([far(1), far(2, in_flight=1), far(3, in_flight=2)], {1, 2}),
    "one failed": ([far(1, failed_s=0.5), far(2, in_flight=9)], {2}),
    "all failed": ([far(1, failed_s=0.5), near(2, failed_s=0.1)], set()),
    "one failed long ago": ([far(1, failed_s=1.5), far(2, in_flight=9)], {1}),
    "a near one is free": ([near(1, in_flight=1), far(2), far(3)], {1}),
    "a near one has two": ([near(1, in_flight=2), far(2), far(3)], {2, 3}),
    "a near one lets others wait": ([near(1, load=1), far(2), far(3)], {1, 2, 3}),
    "a near one in a tie": ([near(1, load=5), far(2)], {1}),
    "a near one failed": ([near(1, failed_s=0.5), far(2), far(3)], {2, 3}),
    "of two near ones the one with fewer": ([near(1, load=1), near(2, in_flight=1), far(3)], {1}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_picks_those_that_it_should(case: str, jvm: Jvm) -> None:
    workers, expected = CASES[case]
    assert set(jvm.call("picks", workers=workers)) == expected


@pytest.mark.parametrize("case", CASES)
def test_so_does_python(case: str) -> None:
    workers, expected = CASES[case]
    now = 0.0
    router = Router(lambda: now, is_local=lambda host: host == "near")
    router.update(listing(1, [(worker["host"], worker["port"]) for worker in workers]))
    for worker in workers:
        route = router.routes[worker["host"], worker["port"]]
        route.in_flight, route.load = worker.get("in_flight", 0), worker.get("load", 0)
        if "failed_s" in worker:
            now = -worker["failed_s"]
            router.avoid(route.endpoint)
    now = 0.0
    picked = [router.pick(1) for _ in range(200)]
    assert {route.endpoint[1] for route in picked if route is not None} == expected


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
