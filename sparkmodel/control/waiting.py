# SPDX-License-Identifier: Apache-2.0
"""Whether the client of a request still waits for its answer."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

Watch = Callable[[], None]


class AbandonedError(Exception):
    """Nobody waits for the answer any more: the statement was cancelled, or its client has ended."""


def watch(sock: socket.socket) -> Watch:
    """What raises AbandonedError once the client has closed its connection.

    Args:
        sock: Connected, and its request read: there is nothing more to come but the end.
    """
    poll = select.poll()
    poll.register(sock, select.POLLIN)

    def check() -> None:
        try:
            ended = bool(poll.poll(0)) and sock.recv(1, socket.MSG_PEEK) == b""
        except OSError:  # reset
            ended = True
        if ended:
            raise AbandonedError

    return check
