# SPDX-License-Identifier: Apache-2.0
"""The gateway in this process: uvicorn in a thread with a loop of its own, whatever loops the program has."""

from __future__ import annotations

import errno
import pathlib
import signal
import socket
import ssl
import threading

import uvicorn
from fastapi import FastAPI

from sparkmodel.errors import InvalidOptionError, SparkModelError
from sparkmodel.rest import announce
from sparkmodel.rest.guard import guarded
from sparkmodel.rest.settings import Settings
from sparkmodel.wire.addresses import spelled

_BACKLOG = 2048
_END_S = 30.0


class Server:
    """Serves an application until it is closed.

    Args:
        app: The application.
        settings: Where.

    Attributes:
        url: Where it serves.
        port: Of that.
        token_path: File that tells programs of the same user of it, with a token for `admin`; None if there is none.

    Raises:
        InvalidOptionError: it cannot listen there, or the certificate is of no use.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        if settings.tls_cert is not None:
            _check_certificate(settings.tls_cert, settings.tls_key)
        self._sock = _listener(settings.host, settings.port)
        self.port: int = self._sock.getsockname()[1]
        self.url = f"{'https' if settings.tls_cert else 'http'}://{spelled(settings.host, self.port)}"
        self.token_path: pathlib.Path | None = None
        config = uvicorn.Config(
            app,
            http=guarded(settings),
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            timeout_keep_alive=int(settings.idle_s),
            timeout_graceful_shutdown=int(_END_S) - 5,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()

    def __repr__(self) -> str:
        state = "closed" if self._is_over.is_set() else "serving" if self._thread is not None else "not started"
        return f"<Server {self.url}, {state}>"

    def start(self) -> None:
        """Serve from a thread; returns when it does.

        Raises:
            SparkModelError: it does not start.
        """

        def serve() -> None:
            try:
                self._uvicorn.run(sockets=[self._sock])
            finally:
                self._is_over.set()

        self._thread = threading.Thread(target=serve, name="sparkmodel-gateway", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and not self._is_over.wait(0.01):
            pass
        if not self._uvicorn.started:
            self.close()
            raise SparkModelError(f"Cannot serve at '{self.url}'", "it ended as it started", "look into the log")

    def announce(self, token: str) -> None:
        """Tell programs of the same user of it.

        Args:
            token: One for `admin`.
        """
        self.token_path = announce.announce(self.url, self.port, token)

    def wait(self) -> None:
        """Wait until it ends: by Ctrl-C, by SIGTERM where the main thread waits, or closed by another thread."""
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, lambda *_: self._stop()) if is_main else None
        try:
            while not self._is_over.wait(1.0):  # a wait without an end would not be interrupted everywhere
                pass
        except KeyboardInterrupt:
            pass  # that is how one ends it
        finally:
            if is_main:
                signal.signal(signal.SIGTERM, before)
            self.close()

    def close(self) -> None:
        """Let requests finish, and stop. Calling it twice does nothing."""
        self._stop()
        if self._thread is not None:
            self._thread.join(_END_S)
        self._is_over.set()
        self._sock.close()
        if self.token_path is not None:
            announce.withdraw(self.token_path)

    def _stop(self) -> None:
        self._uvicorn.should_exit = True

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket: uvicorn would make its own only once it has begun, and the port is wanted before."""
    what = f"Cannot serve at '{spelled(host, port)}'"
    try:
        # proto: asyncio sets TCP_NODELAY where it is TCP's, and without it a small answer waits for 40 ms
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, proto, _, address = infos[0]
        sock = socket.socket(family, kind, proto)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InvalidOptionError(what, str(error), "name an address of this machine") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        hint = "close what serves there, or take another port; 0 takes a free one" if taken else ""
        raise InvalidOptionError(what, "the port is in use" if taken else str(error), hint) from None
    return sock


def _check_certificate(cert: str, key: str | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
        raise InvalidOptionError(f"Cannot use certificate '{cert}'", f"{type(error).__name__}: {error}") from None
