# SPDX-License-Identifier: Apache-2.0
"""The HTTP side by itself: who is answered, and what comes back."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from sparkmodel.control import serve
from sparkmodel.control.server import ControlServer
from sparkmodel.control.waiting import AbandonedError, Watch
from sparkmodel.errors import InvalidOptionError, ModelNotFoundError, ProtocolError
from sparkmodel.keeper import connection
from sparkmodel.version import __version__
from tests.control import TOKEN, call, post, request

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def start() -> Iterator[Callable[..., ControlServer]]:
    """Starts servers around a function; all are closed at the end."""
    made: list[ControlServer] = []

    def start_(run: Callable[[str, Mapping[str, Any], Watch], dict[str, Any]], **options: Any) -> ControlServer:
        made.append(ControlServer(TOKEN, run, **options))
        return made[-1]

    yield start_
    for server in made:
        server.close()


@pytest.fixture
def port(start: Callable[..., ControlServer]) -> int:
    return start(lambda command, fields, watch: {"command": command, **fields}).port


def test_a_command_with_its_fields_is_run(port: int) -> None:
    assert call(port, "catalog/card", name="wähne", n=[1]) == {"command": "catalog/card", "name": "wähne", "n": [1]}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer \xff"},
        {**BEARER, "Host": "example.com"},
        {**BEARER, "Host": "example.com:80"},
        {**BEARER, "Host": "127.0.0.1"},
    ],
)
def test_who_does_not_know_the_token_or_means_another_host_runs_nothing(
    start: Callable[..., ControlServer], headers: dict[str, str]
) -> None:
    ran: list[str] = []
    server = start(lambda command, fields, watch: ran.append(command) or {})
    status, error = request("POST", server.port, "/v1/ping", b"{}", headers)
    assert (status, error["condition"]) == (401, "AUTHENTICATION_FAILED")
    assert TOKEN not in json.dumps(error)
    assert ran == []


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/ping", b"{}", {}),
        ("/v1/ping", b"[]", {}),
        ("/v1/ping", b"{", {}),
        ("/v1/ping", b"\xff", {}),
        ("/v1/ping", b"{}", {"Content-Length": str((16 << 20) + 1)}),
        ("/v1/ping", b"{}", {"Content-Length": "-1"}),
    ],
)
def test_what_is_no_request_is_an_error(port: int, path: str, body: bytes, headers: dict[str, str]) -> None:
    status, error = post(port, path, body, **headers)
    assert (status, error["condition"]) == (400, "PROTOCOL_ERROR")


def test_other_methods_get_an_error_of_the_same_form(port: int) -> None:
    status, error = request("GET", port, "/v1/ping", b"", BEARER)
    assert (status, error["condition"]) == (501, "PROTOCOL_ERROR")


def test_an_error_arrives_as_what_it_was(start: Callable[..., ControlServer]) -> None:
    errors = {"a": ModelNotFoundError("Cannot find", "no", "look", "more"), "b": InvalidOptionError("Cannot use", "no")}

    def run(command: str, fields: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
        raise errors[command]

    port = start(run).port
    assert post(port, "/v1/a") == (404, errors["a"].to_dict())
    assert post(port, "/v1/b") == (400, errors["b"].to_dict())
    status, error = post(port, "/v1/c")  # a KeyError of the service's own
    assert (status, error["condition"]) == (500, "INTERNAL_ERROR")
    assert "Traceback" in error["details"]


def test_it_listens_on_loopback_only_and_no_more_once_closed(start: Callable[..., ControlServer]) -> None:
    server = start(lambda command, fields, watch: {})
    assert server._http.server_address[0] == "127.0.0.1"
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_shutdown_is_answered_and_then_done(start: Callable[..., ControlServer]) -> None:
    done = threading.Event()
    server = start(lambda command, fields, watch: {}, on_shutdown=done.set)
    assert call(server.port, "shutdown") == {}
    assert done.wait(120)


def test_a_slow_command_does_not_keep_others_waiting(start: Callable[..., ControlServer]) -> None:
    waiting, go = threading.Event(), threading.Event()

    def run(command: str, fields: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
        if command == "slow":
            waiting.set()
            go.wait(120)
        return {}

    port = start(run).port
    thread = threading.Thread(target=call, args=(port, "slow"))
    thread.start()
    assert waiting.wait(120)
    assert call(port, "quick") == {}
    go.set()
    thread.join(120)


def test_a_command_learns_that_its_client_is_gone(start: Callable[..., ControlServer]) -> None:
    begun, ended = threading.Event(), threading.Event()

    def run(command: str, fields: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
        watch()  # the client waits
        begun.set()
        for _ in range(200):
            time.sleep(0.05)
            try:
                watch()
            except AbandonedError:
                ended.set()
                raise
        return {}

    server = start(run)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        client.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        assert begun.wait(120)
        assert not ended.wait(0.3)
    assert ended.wait(120)


def test_the_commands_check_their_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(TOKEN)
    try:
        assert call(server.port, "ping")["version"] == __version__
        with pytest.raises(ProtocolError, match=r"no such command\. Hint: did you mean 'create'"):
            call(server.port, "craete")
        with pytest.raises(ProtocolError, match="its field 'name' is missing"):
            call(server.port, "card")
        with pytest.raises(ProtocolError, match="its field 'name' is 1, not str"):
            call(server.port, "card", name=1)
        with pytest.raises(ProtocolError, match="its field 'options' is 'x', not dict"):
            call(server.port, "create", name="f", options="x")
        with pytest.raises(ProtocolError, match="no such action"):
            call(server.port, "alter", name="f", action="sacle")
        monkeypatch.setattr(connection, "is_alone", lambda address: True)  # another test's of this process may run
        assert call(server.port, "list") == {"models": []}  # no Ray is started for it
    finally:
        server.close()
