# SPDX-License-Identifier: Apache-2.0
"""A way to a port that can go dark: it takes what is sent and brings nothing, as a network that lost its other end."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Listens on a port of loopback and passes all bytes on, both ways, unless it is dark.

    Attributes:
        endpoint: Where it listens.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._light = threading.Event()
        self._light.set()
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.endpoint: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def go_dark(self) -> None:
        """Nothing comes out at either end from now on; connections are taken and stay open."""
        self._light.clear()

    def go_light(self) -> None:
        """What was taken meanwhile, and all that follows, is passed on."""
        self._light.set()

    def close(self) -> None:
        """End all connections."""
        self._light.set()
        for sock in [self._listener, *self._socks]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self._socks.append(near)
        try:
            self._light.wait()
            far = socket.create_connection(self._target, 5.0)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._socks.append(far)
        for source, sink in ((near, far), (far, near)):
            with contextlib.suppress(OSError):  # cut meanwhile
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._light.wait()
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
