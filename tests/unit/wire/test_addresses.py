# SPDX-License-Identifier: Apache-2.0
"""Where a server listens, and what callers are told; loopback has addresses enough to tell them apart."""

from __future__ import annotations

import contextlib
import socket

import pytest

from sparkmodel.errors import InvalidOptionError
from sparkmodel.wire.addresses import ADVERTISE, BIND, advertised, listen, spelled
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import HandleClient, ToyService, handle_of, numbers

ELSEWHERE = "192.0.2.1"  # for documents: no machine has it


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (BIND, ADVERTISE):
        monkeypatch.delenv(name, raising=False)


def bound(host: str) -> str:
    with listen(host, 0, 1) as listener:
        return str(listener.getsockname()[0])


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert [spelled("10.0.0.1", 7), spelled("fd00::1", 7), spelled("a.b", 7)] == ["10.0.0.1:7", "[fd00::1]:7", "a.b:7"]
    assert repr(Server(ToyService(), "::1")).startswith("Server('toy' on [::1]:")


def test_what_callers_are_told_may_be_no_address_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert advertised("10.0.0.1") == "10.0.0.1"
    monkeypatch.setenv(ADVERTISE, ELSEWHERE)
    assert advertised("10.0.0.1") == ELSEWHERE
    with pytest.raises(InvalidOptionError, match=f"Cannot listen on '{ELSEWHERE}'.*set {BIND} on that node"):
        Server(ToyService(), ELSEWHERE)
    monkeypatch.setenv(BIND, "127.0.0.1")
    assert bound(ELSEWHERE) == "127.0.0.1"
    server = Server(ToyService(), ELSEWHERE)
    assert server.endpoint[0] == ELSEWHERE
    socket.create_connection(("127.0.0.1", server.endpoint[1]), 5).close()
    server.close()


def test_loopback_stays_loopback_whatever_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BIND, "0.0.0.0")
    assert bound("127.0.0.1") == "127.0.0.1"
    assert bound("::1") == "::1"
    assert bound(ELSEWHERE) == "0.0.0.0"


def test_all_addresses_of_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BIND, "::")
    with listen(ELSEWHERE, 0, 1) as listener:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listener.getsockname()[1]), 5).close()


def test_a_taken_port_is_told_as_such() -> None:
    with listen("127.0.0.1", 0, 1) as listener, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", listener.getsockname()[1], 1)


def test_a_client_calls_over_ipv6() -> None:
    with contextlib.closing(Server(ToyService(), "::1")) as server:
        client = HandleClient(handle_of(server))
        (answer,) = client.predict([numbers(1.0, 2.0)], False)
        assert answer.to_pylist() == [2.0, 4.0]
        assert Handle.from_text(client.handle.to_text()).pool.directory.endpoints == (server.endpoint,)
        client.close()
