# SPDX-License-Identifier: Apache-2.0
"""Heads of Ray: some that answer with the bytes that a real one was seen to send, and a real one without a node."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import threading
from collections.abc import Iterator

import ray

from sparkmodel.cluster.head_token import MODE, TOKEN
from tests.integration.scripts import free_port, listens, wait_until

SECRET = "ab" * 64  # longer than the numbers that fit into HPACK's first byte
_SETTINGS = bytes.fromhex("000000040000000000")
_REFUSED = (
    _SETTINGS
    + b"\x00\x00\x7d\x01\x05\x00\x00\x00\x01\x88@\x0ccontent-type\x10application/grpc\x00\x0bgrpc-status\x0216"
)
_WELCOME = (
    _SETTINGS
    + b"\x00\x00\x11\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x0c\n\x00\x12\x062.60.0 \x01"
    + b"\x00\x00\x0f\x01\x05\x00\x00\x00\x01@\x0bgrpc-status\x010"
)


@contextlib.contextmanager
def head(token: str) -> Iterator[int]:
    """The port of the head of a cluster that wants a token, of one that wants none if it is empty."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_run, args=(server, token), daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def _run(server: socket.socket, token: str) -> None:
    while True:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        with sock, contextlib.suppress(OSError):
            request = b""
            while not request.endswith(bytes(5)) and (piece := sock.recv(4096)):
                request += piece
            sock.sendall(_WELCOME if _shown(request) == token or not token else _REFUSED)


def _shown(request: bytes) -> str:
    """The token of a request, as HPACK has it: its length goes over several bytes if it is 127 and more."""
    _, found, rest = request.partition(b"\x0dauthorization")
    if not found:
        return ""
    size, at = rest[0], 1
    if size == 127:
        shift = 0
        while True:
            size, at = size + ((rest[at] & 127) << shift), at + 1
            shift += 7
            if rest[at - 1] < 128:
                break
    return rest[at : at + size].decode().removeprefix("Bearer ")


@contextlib.contextmanager
def real_head(home: pathlib.Path, token: str) -> Iterator[int]:
    """The port of the head's own process, which asks for a token as every head does."""
    port = free_port()
    program = pathlib.Path(ray.__file__).parent / "core/src/ray/gcs/gcs_server"
    settings = [f"--log_dir={home}", f"--session-dir={home}", "--session-name=s", "--config_list=e30="]
    with (home / "out").open("wb") as out:
        process = subprocess.Popen(
            [program, f"--gcs_server_port={port}", "--node-ip-address=127.0.0.1", *settings],
            env={**os.environ, MODE: "token", TOKEN: token},
            stdout=out,
            stderr=out,
        )
    try:
        wait_until(lambda: listens(port))
        yield port
    finally:
        process.kill()
        process.wait()
