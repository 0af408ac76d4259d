# SPDX-License-Identifier: Apache-2.0
"""The first words of servers that tests write themselves."""

from __future__ import annotations

import socket

from sparkmodel.wire import protocol as p
from tests.unit.wire.toys import greet


def welcome(sock: socket.socket) -> p.Request:
    """Let a client in; returns its request for a greeting, which is not yet answered."""
    greet(sock)
    return p.Request(p.HELLO, 0, 0, b"{}")
