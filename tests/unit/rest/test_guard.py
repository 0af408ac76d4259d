# SPDX-License-Identifier: Apache-2.0
"""Connections that are slow on purpose, or say too much."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from sparkmodel.rest import guard
from tests.unit.rest.doors import answer_of, heard, raw

Serve = Callable[..., httpx.Client]
pytestmark = pytest.mark.usefixtures("doors")
HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"


def url_of(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"POST /ec", b"HTTP/1.1 408"),
        (HEAD + b"X-A: b\r\n", b"HTTP/1.1 408"),
        (HEAD + b"Content-Length: 10\r\n\r\n123", b"HTTP/1.1 408"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"HTTP/1.1 408"),
        (b"GET /door/open HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n", b"HTTP/1.1 200"),
        (b"GET /door/open HTTP/1.1\r\nHost: localhost\r\n\r\nGET /d", b"HTTP/1.1 200"),
    ],
)
def test_who_does_not_go_on_is_hung_up_on(gateway: Serve, sent: bytes, answer: bytes) -> None:
    with raw(url_of(gateway(head_s=0.2, body_s=0.2, idle_s=1))) as sock:
        sock.sendall(sent)
        assert answer_of(sock).startswith(answer)


def test_a_body_that_comes_by_the_byte_is_not_waited_for(gateway: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard.Guarded, "slowest", 1 << 30)
    with raw(url_of(gateway(body_s=0.3))) as sock:
        sock.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        sock.settimeout(0.05)
        answer = b""
        for _ in range(200):
            try:
                answer = sock.recv(65536)
                break
            except TimeoutError:
                sock.sendall(b"x")
        assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"X-A: " + b"b" * 40_000 + b"\r\n\r\n",
        HEAD + b"X-A: " + b"b" * 40_000,
        HEAD + b"A: b\r\n" * 101 + b"\r\n",
        b"GET /" + b"a" * 40_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 101 + b"\r\n",
    ],
    ids=["long header", "endless header", "many headers", "endless path", "many trailers"],
)
def test_a_head_that_is_too_large_is_refused(gateway: Serve, sent: bytes) -> None:
    with raw(url_of(gateway())) as sock:
        sock.sendall(sent)
        assert sock.recv(65536).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))


def test_a_connection_is_used_again_and_closed_when_it_is_idle(gateway: Serve) -> None:
    with raw(url_of(gateway(idle_s=1))) as sock:
        for _ in range(3):
            sock.sendall(HEAD + b"Content-Length: 3\r\n\r\nabc")
            assert b'"size":3' in heard(sock, b"}")
        assert answer_of(sock) == b""


def test_what_is_left_of_a_body_that_was_refused_is_not_waited_for(
    gateway: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_LINGER_S", 0.2)
    with raw(url_of(gateway(max_body_bytes=5))) as sock:
        sock.sendall(HEAD + b"Content-Length: 1000\r\n\r\nabc")
        assert answer_of(sock).startswith(b"HTTP/1.1 413")


def test_a_body_that_was_refused_is_read_to_its_end_and_the_connection_goes_on(gateway: Serve) -> None:
    client = gateway(max_body_bytes=5)
    for _ in range(3):
        assert client.post("/echo", content=b"x" * 100_000).status_code == 413
    assert client.post("/echo", content=b"abc").json()["size"] == 3


def test_a_flood_of_chunks_is_one_body(gateway: Serve) -> None:
    with raw(url_of(gateway())) as sock:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
        assert b'"size":50000' in heard(sock, b"size")
