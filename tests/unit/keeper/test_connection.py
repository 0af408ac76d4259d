# SPDX-License-Identifier: Apache-2.0
"""To which Ray a driver's keeper is connected, and when another one starts, with links that only note."""

from __future__ import annotations

import os
import pathlib
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest

from sparkmodel.errors import InvalidOptionError, PoolGoneError, RayUnavailableError
from sparkmodel.keeper import connection, early, pools
from tests.unit.wire.toys import wait_until

LOST = RayUnavailableError("Cannot reach Ray", "no head")


class ToyLink:
    """Stands for a keeper."""

    made: list[ToyLink] = []
    refuses: RayUnavailableError | None = None

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.lost: RayUnavailableError | None = None
        self.has_ended = self.is_lost_for_good = self.is_closed = False
        self.process = types.SimpleNamespace(shows=False)
        ToyLink.made.append(self)

    @property
    def is_usable(self) -> bool:
        return not (self.has_ended or self.is_closed or self.lost)

    def call(self, command: str, *arguments: Any, limit_s: float | None = None, **named: Any) -> Any:
        self.calls.append((command, *arguments))
        if ToyLink.refuses is not None:
            raise ToyLink.refuses
        if command == "connect":
            return pathlib.Path("/somewhere") if arguments[0] == "local" else None
        return ("f", "pool-id") if command in ("find", "deploy") else f"{command} answered"

    def close(self, wait: bool = True) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def links(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ToyLink]]:
    monkeypatch.setattr(connection, "Link", ToyLink)
    monkeypatch.setattr(connection, "_state", connection._State())
    monkeypatch.setattr(connection.head_token, "look_for", lambda address: None)  # there are no heads here
    monkeypatch.setattr(ToyLink, "made", [])
    monkeypatch.setattr(ToyLink, "refuses", None)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield ToyLink.made
    connection.shutdown()


def asked(link: ToyLink) -> tuple[Any, ...]:
    """Address, namespace, spares and options that it was told to connect with."""
    (call,) = [call for call in link.calls if call[0] == "connect"]
    return call[1:]


def test_without_an_address_a_local_ray_is_started_once(links: list[ToyLink]) -> None:
    assert connection.is_alone(None)
    connection.prefer(3)
    runtime = connection.connect(num_cpus=2)
    assert runtime.is_local
    assert connection.is_connected()
    assert not connection.is_alone(None)
    assert connection.ensure("other:1", "other") is connection.current() is connection.connect() is runtime
    assert [asked(link) for link in links] == [("local", "sparkmodel", 3, {"num_cpus": 2})]
    for arguments in ({"address": "a:1"}, {"num_cpus": 1}):
        with pytest.raises(InvalidOptionError, match="this process is connected already"):
            connection.connect(**arguments)  # type: ignore[arg-type]


def test_a_cluster_is_joined_by_address_or_variable_or_because_the_program_is_on_it(
    links: list[ToyLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    def address() -> str:
        runtime = connection.connect(namespace="mine")
        assert not runtime.is_local
        connection.shutdown()
        return str(asked(links[-1])[0])

    monkeypatch.setenv("RAY_ADDRESS", "env:1")
    assert not connection.is_alone(None)
    assert address() == "env:1"
    context = types.SimpleNamespace(gcs_address="own:1")
    own = types.SimpleNamespace(is_initialized=lambda: True, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", own)  # type: ignore[arg-type]
    assert address() == "own:1"
    monkeypatch.delenv("RAY_ADDRESS")
    assert not connection.is_alone(None)
    own.is_initialized = lambda: False
    assert connection.is_alone(None)
    assert not connection.is_alone("given:1")


@pytest.mark.parametrize("address", [None, "head:1"])
def test_after_its_end_the_same_is_connected_to_again(links: list[ToyLink], address: str | None) -> None:
    options = {"num_cpus": 4} if address is None else {}
    connection.connect(address, "mine", 2, **options)
    links[0].has_ended = True
    assert not connection.is_connected()
    assert connection.is_alone(None) == (address is None)
    connection.current()
    assert asked(links[1]) == asked(links[0])
    connection.shutdown()
    assert connection.is_alone(None)
    connection.current()
    assert asked(links[2]) == ("local", "sparkmodel", 1, {})


def test_a_local_ray_that_is_lost_makes_room_and_is_ended_with_the_rest(links: list[ToyLink]) -> None:
    connection.connect()
    links[0].lost, links[0].is_lost_for_good = LOST, True
    connection.current()
    assert len(links) == 2
    assert not links[0].is_closed  # what its pools have under way may still be answered
    connection.shutdown()
    assert links[0].is_closed
    assert links[1].is_closed


def test_a_cluster_whose_head_is_lost_is_waited_for(links: list[ToyLink]) -> None:
    runtime = connection.connect("head:1")
    links[0].lost, links[0].is_lost_for_good = LOST, True
    for call in (connection.current, connection.connect):
        with pytest.raises(RayUnavailableError, match="no head"):
            call()
    links[0].lost = None
    assert connection.current() is runtime


def test_a_keeper_that_cannot_connect_is_ended(links: list[ToyLink], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyLink, "refuses", LOST)
    with pytest.raises(RayUnavailableError):
        connection.connect("wrong:1")
    assert links[0].is_closed
    monkeypatch.setattr(ToyLink, "refuses", None)
    assert connection.connect().is_local
    assert len(links) == 2


def test_a_keeper_that_was_prepared_is_the_one_that_connects(links: list[ToyLink]) -> None:
    connection.prepare()
    connection.prepare()
    assert not connection.is_connected()
    connection.connect(log_to_driver=True)
    connection.prepare()
    assert len(links) == 1
    assert links[0].process.shows


def test_a_forked_process_has_no_keeper(links: list[ToyLink]) -> None:
    connection.connect()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"connected" if connection.is_connected() else b"free")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"free"
    os.close(read)
    os.close(write)
    assert connection.is_connected()


def test_a_start_goes_on_while_its_caller_does_something_else(links: list[ToyLink]) -> None:
    wait = early.begin(None, "mine")
    wait()
    wait()
    assert [call[0] for call in links[0].calls] == ["connect", "warm"]
    assert asked(links[0])[:2] == ("local", "mine")


def test_who_waits_gets_the_error_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyLink, "refuses", LOST)
    wait = early.begin()
    for _ in range(2):
        with pytest.raises(RayUnavailableError, match="no head"):
            wait()


def test_a_cluster_is_joined_by_who_needs_it(links: list[ToyLink]) -> None:
    early.begin("somewhere:6379")()
    assert [link.calls for link in links] == [[]]  # its keeper starts already


def test_any_method_of_a_pool_is_asked_of_the_keeper(links: list[ToyLink]) -> None:
    pool = pools.find("f")
    assert pool.anything(1, key=2) == "pool answered"
    assert links[0].calls[-1] == ("pool", "f", "pool-id", "anything", 1)
    assert not hasattr(pool, "_repr_html_")
    with pytest.raises(TypeError, match="pickle its handle"):
        pool.__reduce__()


def test_a_pool_of_a_local_ray_ends_with_it(links: list[ToyLink]) -> None:
    pool = pools.find("f")
    links[0].has_ended = True
    with pytest.raises(PoolGoneError, match="the Ray that it was on has ended"):
        pool.stats()
    pool.drop()
    assert len(links) == 1  # none is started to be told that


def test_a_pool_of_a_cluster_is_looked_for_by_the_next_keeper(links: list[ToyLink]) -> None:
    connection.connect("head:1")
    pool = pools.find("f")
    links[0].has_ended = True
    pool.stats()
    assert asked(links[1])[0] == "head:1"
    assert links[1].calls[-1] == ("pool", "f", "pool-id", "stats")
    connection.shutdown()
    with pytest.raises(PoolGoneError):
        pool.stats()


def test_who_cannot_drop_a_pool_that_may_live_is_told(links: list[ToyLink], monkeypatch: pytest.MonkeyPatch) -> None:
    connection.connect("head:1")
    pool = pools.find("f")
    monkeypatch.setattr(ToyLink, "refuses", LOST)
    with pytest.raises(RayUnavailableError):
        pool.drop()


def test_a_driver_says_to_a_cluster_that_it_goes_on_whichever_keeper_it_has(
    links: list[ToyLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARKMODEL_TOKEN_TTL_S", "0.02")
    connection.connect("host:1")
    wait_until(lambda: ("attend",) in links[0].calls, "it is said")
    links[0].has_ended = True
    wait_until(lambda: len(links) == 2 and ("attend",) in links[1].calls, "it is said by the next one")
    for refusal in (RayUnavailableError("Cannot reach Ray", "its head is lost"), OSError("no more processes")):
        ToyLink.refuses = refusal
        count = len(links[1].calls)
        wait_until(lambda: len(links[1].calls) > count + 2, "it is tried again", 30)  # noqa: B023
    ToyLink.refuses = None
    connection.shutdown()
    wait_until(lambda: "sparkmodel-attend" not in {thread.name for thread in threading.enumerate()}, "it ends")
    assert len(links) == 2, "nothing is connected to for that"


def test_a_local_ray_needs_nobody_to_say_so(links: list[ToyLink], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKMODEL_TOKEN_TTL_S", "0.02")
    connection.connect()
    assert "sparkmodel-attend" not in {thread.name for thread in threading.enumerate()}
