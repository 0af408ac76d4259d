# SPDX-License-Identifier: Apache-2.0
"""Bodies: as long as is allowed, packed as their headers say, and no bombs."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from sparkmodel.errors import BatchTooLargeError
from sparkmodel.rest.bodies import _unpacked
from tests.unit.rest.doors import heard, raw

Serve = Callable[..., httpx.Client]
pytestmark = pytest.mark.usefixtures("doors")
TEXT = b"0123456789" * 20


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("GZIP", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
    ],
)
def test_a_body_is_unpacked(gateway: Serve, encoding: str, body: bytes) -> None:
    answer = gateway().post("/echo", content=body, headers={"Content-Encoding": encoding})
    assert answer.json()["size"] == len(TEXT)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), 415),
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-9], 400),
        ("gzip", gzip.compress(TEXT, mtime=0) + b"more", 400),
        ("gzip", b"", 400),
        ("gzip", gzip.compress(b"0" * 2000, mtime=0), 413),
        ("deflate", zlib.compress(b"0" * 2000), 413),
        ("", b"0" * 1001, 413),
    ],
)
def test_what_is_packed_wrong_or_too_long_is_refused(gateway: Serve, encoding: str, body: bytes, status: int) -> None:
    answer = gateway(max_body_bytes=1000).post("/echo", content=body, headers={"Content-Encoding": encoding})
    assert answer.status_code == status


def test_a_bomb_takes_no_more_memory_than_is_allowed() -> None:
    bomb = gzip.compress(b"\0" * (1 << 28), 9, mtime=0)
    tracemalloc.start()
    try:
        with pytest.raises(BatchTooLargeError):
            _unpacked(bomb, 31, 1 << 22)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_a_body_of_unknown_length_is_cut_off(gateway: Serve) -> None:
    def flood() -> Iterator[bytes]:
        for _ in range(300):
            yield b"0123456789"

    assert gateway(max_body_bytes=1000).post("/echo", content=flood()).status_code == 413


def test_a_length_that_is_too_long_is_answered_before_the_body_comes(gateway: Serve) -> None:
    client = gateway(max_body_bytes=1000)
    with raw(str(client.base_url).rstrip("/")) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 413")


def test_who_waits_to_be_told_to_go_on_is_told_so(gateway: Serve) -> None:
    """curl does, for bodies of more than a megabyte."""
    client = gateway()
    with raw(str(client.base_url).rstrip("/")) as sock:
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        sock.sendall(head)
        assert sock.recv(65536).startswith(b"HTTP/1.1 100")
        sock.sendall(b"abc")
        assert b'{"size":3' in heard(sock, b"size")
