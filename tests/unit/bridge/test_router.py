# SPDX-License-Identifier: Apache-2.0
"""The bridge chooses among workers by the rule of sparkmodel/wire/router.py."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from sparkmodel.wire.router import Router
from sparkmodel.wire.directory import Directory
from tests.bridge import Jvm


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
    router.update(Directory(1, tuple((worker["host"], worker["port"]) for worker in workers), "ready", 1))
    for worker in workers:
        route = router.routes[worker["host"], worker["port"]]
        route.in_flight, route.load = worker.get("in_flight", 0), worker.get("load", 0)
        if "failed_s" in worker:
            now = -worker["failed_s"]
            router.avoid(route.endpoint)
    now = 0.0
    picked = [router.pick() for _ in range(200)]
    assert {route.endpoint[1] for route in picked if route is not None} == expected


def test_an_address_of_this_machine_is_known(jvm: Jvm) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: the kernel only chooses an address
        own = probe.getsockname()[0]
    known = {host: jvm.call("is_here", host=host) for host in ("127.0.0.1", "localhost", own, "192.0.2.1", "a-name")}
    assert known == {"127.0.0.1": True, "localhost": True, own: True, "192.0.2.1": False, "a-name": False}
