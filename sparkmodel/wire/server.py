# SPDX-License-Identifier: Apache-2.0
"""The worker's side of the wire: one thread for each connection, one that watches, one that accepts."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

from sparkmodel.errors import PredictTimeoutError, SparkModelError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.gate import Gate
from sparkmodel.wire.joiner import Joiner
from sparkmodel.wire.service import Service
from sparkmodel.wire.session import Session
from sparkmodel.wire.tls import Identity, server_context

_log = logging.getLogger(__name__)
_FAREWELL_S = 0.3  # for clients to hang up once they were told: what they send meanwhile would reset the connection
_LINGER_S = 0.5  # time for those who wait to be sent elsewhere before a hung worker exits; they look every 0.2 s


class Server:
    """Serves a `Service` on a TCP port.

    Args:
        service: What answers.
        host: Address to bind.
        port: Port to bind, such as the one of a server that has ended; 0 is the system's choice.
        max_concurrency: Batches in the model at once.
        max_queued: Batches that may wait for the model.
        timeout_s: Longest stay of one batch in the model.
        on_hang: Called once, after the callers were told, when a batch stayed longer; a thread that is stuck in a
            model cannot be stopped, so this should end the process.
        max_batch_bytes: Longest message that is read.
        join_rows: Rows up to which small batches of several callers are joined; None joins none.
        join_wait_s: Longest time that a batch waits for others to join it.
        identity: What is shown and proved to clients over TLS; None serves plain TCP.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        *,
        port: int = 0,
        max_concurrency: int = 1,
        max_queued: int = 100,
        timeout_s: float = 60.0,
        on_hang: Callable[[], None] = lambda: None,
        max_batch_bytes: int = p.MAX_BATCH_BYTES,
        join_rows: int | None = None,
        join_wait_s: float = 0.0,
        identity: Identity | None = None,
    ) -> None:
        self.service = service
        self.gate = Gate(max_concurrency, max_queued)
        self.max_batch_bytes = max_batch_bytes
        self._tls = None if identity is None else server_context(identity)
        self._joiner = Joiner(self.gate, join_rows, join_wait_s)
        self._timeout_s, self._on_hang = timeout_s, on_hang
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self.endpoint: tuple[str, int] = self._listener.getsockname()[:2]
        for target in (self._accept, self._watch):
            threading.Thread(target=target, name=f"sparkmodel-{target.__name__}", daemon=True).start()

    def __repr__(self) -> str:
        host, port = self.endpoint
        return f"Server({self.service.name!r} on {host}:{port}, {len(self._sessions)} connections)"

    def configure(
        self,
        *,
        max_concurrency: int,
        max_queued: int,
        timeout_s: float,
        join_rows: int | None = None,
        join_wait_s: float = 0.0,
    ) -> None:
        """Take other limits, for what is waiting or in the model too."""
        self._timeout_s = timeout_s
        self.gate.resize(max_concurrency, max_queued)
        self._joiner.configure(join_rows, join_wait_s)

    def close(self, drain_s: float = 0.0) -> None:
        """Send what waits and what comes elsewhere, then close.

        Args:
            drain_s: Longest time for what is in the model to be finished, and its answers to be sent; the clients are
                told before their connections close. With 0 they are cut.
        """
        self.gate.stopping = True
        deadline = time.monotonic() + drain_s
        while drain_s and not self._dismiss() and time.monotonic() < deadline:
            time.sleep(0.005)
        self._stopped.set()
        with contextlib.suppress(OSError):
            # close() alone leaves a thread in accept(), and with it the port
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        deadline = min(deadline, time.monotonic() + _FAREWELL_S)
        while drain_s and self._open_sessions() and time.monotonic() < deadline:
            self._dismiss()  # those that came meanwhile
            time.sleep(0.005)
        for session in self._open_sessions():
            session.close()

    def _dismiss(self) -> bool:
        """Whether no session has an answer to send any more."""
        return all([session.dismiss() for session in self._open_sessions()])

    def _open_sessions(self) -> list[Session]:
        with self._lock:
            return list(self._sessions)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if self._stopped.is_set():
                    return
                _log.warning("accept failed: %s", error)  # such as too many open files: go on
                time.sleep(0.1)
                continue
            try:
                self._start(sock)
            except (OSError, RuntimeError) as error:  # reset meanwhile, or no more threads: go on
                _log.warning("a connection was refused: %s", error)
                sock.close()

    def _start(self, sock: socket.socket) -> None:
        session = Session(sock, self.service, self.gate, self.max_batch_bytes, self._joiner, self._tls)
        thread = threading.Thread(target=self._serve, args=(session,), name="sparkmodel-session", daemon=True)
        thread.start()

    def _serve(self, session: Session) -> None:
        with self._lock:
            self._sessions.add(session)
        try:
            if not self._stopped.is_set():  # else close() may have missed it
                session.run()
        finally:
            session.close()
            with self._lock:
                self._sessions.discard(session)

    def _watch(self) -> None:
        """Tell callers that wait that the worker lives; end a batch, and the worker, that hangs."""
        told = time.monotonic()
        while not self._stopped.wait(min(p.KEEPALIVE_S, self._timeout_s / 4)):
            now = time.monotonic()
            if any(now - stay.started > self._timeout_s for stay in self.gate.running()):
                self._hang()
                return
            if now - told >= p.KEEPALIVE_S:
                told = now
                for session in self._open_sessions():
                    session.keep_alive()

    def _hang(self) -> None:
        self.gate.stopping = True
        for session in self._open_sessions():
            session.fail_running(self._timeout_s, self._timeout_error())
        time.sleep(_LINGER_S)
        self._dismiss()
        self._on_hang()

    def _timeout_error(self) -> SparkModelError:
        return PredictTimeoutError(
            f"Cannot score with '{self.service.name}'",
            f"the model took longer than timeout_s={self._timeout_s:g} for one batch; its worker is replaced",
            "raise timeout_s, or make the batches smaller",
        )
