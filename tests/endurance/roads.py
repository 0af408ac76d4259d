# SPDX-License-Identifier: Apache-2.0
"""The connections of some threads of this process go through proxies, which can go dark."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from tests.proxy import Proxy


class Roads:
    """What calls from threads of one name reach their workers by.

    Args:
        prefix: How the names of those threads begin.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix, self._lock = prefix, threading.Lock()
        self._proxies: dict[tuple[str, int], Proxy] = {}

    @contextlib.contextmanager
    def taken(self) -> Iterator[Roads]:
        """Connections are made through proxies meanwhile."""
        connect = socket.socket.connect

        def detour(sock: socket.socket, address: Any) -> None:
            by_proxy = threading.current_thread().name.startswith(self._prefix) and sock.family == socket.AF_INET
            connect(sock, self._of(address).endpoint if by_proxy else address)

        socket.socket.connect = detour  # type: ignore[method-assign]
        try:
            yield self
        finally:
            socket.socket.connect = connect  # type: ignore[method-assign]
            for proxy in self._proxies.values():
                proxy.close()

    def ports(self) -> list[int]:
        """Of those that were connected to."""
        with self._lock:
            return sorted(port for _, port in self._proxies)

    def turn(self, port: int, is_dark: bool) -> None:
        """Make the way to a port a black hole, or no more."""
        with self._lock:
            found = [proxy for (_, known), proxy in self._proxies.items() if known == port]
        for proxy in found:
            proxy.go_dark() if is_dark else proxy.go_light()

    def _of(self, address: tuple[str, int]) -> Proxy:
        with self._lock:
            if address not in self._proxies:
                self._proxies[address] = Proxy(address)
            return self._proxies[address]
