# SPDX-License-Identifier: Apache-2.0
"""Unix sockets in a directory of ours: found by name, by this user only, however long the directory's path is."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import struct
from collections.abc import Iterator

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def listen(directory: pathlib.Path, name: str) -> socket.socket:
    """Listen under a name that was not taken, or whose owner has ended."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(directory) as short:
            (directory / name).unlink(missing_ok=True)
            listener.bind(f"{short}/{name}")
        listener.listen(8)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(directory: pathlib.Path, name: str) -> socket.socket:
    """Connect to who listens under a name.

    Raises:
        OSError: nobody does.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(directory) as short:
            sock.connect(f"{short}/{name}")
        check(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def accept(listener: socket.socket, timeout_s: float) -> socket.socket | None:
    """The next one of this user who connects; None if nobody does in time."""
    listener.settimeout(timeout_s)
    try:
        sock, _ = listener.accept()
    except TimeoutError:
        return None
    sock.setblocking(True)
    try:
        check(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def peer(sock: socket.socket) -> int:
    """Process at the other end; of one that listened, it is the one that began to."""
    pid, _, _ = _credentials(sock)
    return pid


def check(sock: socket.socket) -> None:
    """Raise PermissionError unless the process at the other end is this user's."""
    _, uid, _ = _credentials(sock)
    if uid != os.getuid():
        raise PermissionError(f"user {uid} is at the other end of a socket")


def _credentials(sock: socket.socket) -> tuple[int, int, int]:
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, gid


@contextlib.contextmanager
def _short(directory: pathlib.Path) -> Iterator[str]:
    """A path to the directory that leaves room in the 107 characters that a socket's may have."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)
