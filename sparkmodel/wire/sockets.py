# SPDX-License-Identifier: Apache-2.0
"""How a connection notices that its other side is no more, without a word from it."""

from __future__ import annotations

import socket

# a host that went dark is noticed after 2 s and three probes of 1 s each
_DARK = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}
_TAKES_NOTHING = {"TCP_USER_TIMEOUT": 8_000}


def tune(sock: socket.socket, *, is_client: bool = True) -> None:
    """Send small messages at once, and notice a peer that does not acknowledge. What the system lacks is left out.

    Args:
        sock: TCP.
        is_client: Whether the peer is a worker, which takes what it is sent; a caller may do other things first.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (_DARK | _TAKES_NOTHING if is_client else _DARK).items():
        number = getattr(socket, name, None)
        if number is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)
