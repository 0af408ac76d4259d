# SPDX-License-Identifier: Apache-2.0
"""The gateway in this process: uvicorn in a thread, or in the main one."""

from __future__ import annotations

import socket
import threading

import uvicorn
from fastapi import FastAPI

from sparkmodel.errors import SparkModelError
from sparkmodel.rest.settings import Settings
from sparkmodel.wire.addresses import spelled

_BACKLOG = 2048
_START_S, _END_S = 60.0, 30.0


class Server:
    """Serves an application until it is closed.

    Args:
        app: The application.
        settings: Where.

    Attributes:
        url: Where it serves.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        # uvicorn makes the socket of a listener by itself only after it has begun; the port is wanted before.
        # proto: asyncio sets TCP_NODELAY where it is TCP's, and without it a small answer waits for 40 ms
        infos = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, proto, _, address = infos[0]
        self._sock = socket.socket(family, kind, proto)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(address)
        self._sock.listen(_BACKLOG)
        port = self._sock.getsockname()[1]
        self.url = f"http://{spelled(settings.host, port)}"
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_keep_alive=75)
        self._uvicorn = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Server({self.url})"

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        try:
            self._uvicorn.run(sockets=[self._sock])
        finally:
            self._sock.close()

    def start(self) -> None:
        """Serve from a thread; returns when it does."""
        started = threading.Event()
        self._uvicorn.install_signal_handlers = lambda: None  # type: ignore[attr-defined]

        def serve() -> None:
            try:
                self._uvicorn.run(sockets=[self._sock])
            finally:
                started.set()

        self._thread = threading.Thread(target=serve, name="sparkmodel-gateway", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and not started.wait(0.01):
            pass
        if not self._uvicorn.started:
            raise SparkModelError(f"Cannot serve at '{self.url}'", "it ended as it started", "look into the log")

    def close(self) -> None:
        """Let requests finish, and stop. Calling it twice does nothing."""
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join(_END_S)
        self._sock.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
