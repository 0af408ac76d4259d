# SPDX-License-Identifier: Apache-2.0
"""The worker's side of the wire: one thread for each caller, one that watches, one that greets."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

from sparkmodel.errors import PredictTimeoutError, SparkModelError
from sparkmodel.wire import addresses, capabilities
from sparkmodel.wire import protocol as p
from sparkmodel.wire.greeter import Greeter, Met
from sparkmodel.wire.joining import Joiner
from sparkmodel.wire.room import MAX_QUEUED_BYTES, Room
from sparkmodel.wire.service import Service
from sparkmodel.wire.session import Receiving, Session
from sparkmodel.wire.tls import Identity, server_context
from sparkmodel.wire.turns import Inside

_FAREWELL_S = 0.3  # for clients to hang up once they were told: what they send meanwhile would reset the connection
_LINGER_S = 0.5  # time for those who wait to be sent elsewhere before a hung worker exits; they look every 0.2 s


class Server:
    """Serves a `Service` on a TCP port.

    Args:
        service: What answers.
        host: Address that callers are told; it is bound too, unless this machine says what to bind: see
            `sparkmodel.wire.addresses`.
        port: Port to bind, such as the one of a server that has ended; 0 is the system's choice.
        max_concurrency: Calls of the model at once.
        max_queued: Batches that may wait for the model.
        max_queued_bytes: Bytes of those that may be here at once, small ones not counted.
        timeout_s: Longest time of one call of the model.
        on_hang: Called once, after the callers were told, when a call took longer and did not end when it was told to;
            a thread that is stuck in native code cannot be stopped, so this should end the process.
        max_batch_bytes: Longest message that is read.
        join_rows: Rows up to which small batches of several callers are joined; None joins none.
        join_wait_s: Longest time that a batch waits for others to join it.
        identity: What is shown and proved to clients over TLS; None serves plain TCP.
        admit: Looks at what a caller has proved to have, may refuse it, and may give it something newer.
        inside: Entered around each call of the model, with the numbers of its batches: each is the number of the
            connection, and the batch's own on it.
        receiving: Entered while a batch, or a stream's schema, is read, with the same two numbers.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        *,
        port: int = 0,
        max_concurrency: int = 1,
        max_queued: int = 100,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        timeout_s: float = 60.0,
        on_hang: Callable[[], None] = lambda: None,
        max_batch_bytes: int = p.MAX_BATCH_BYTES,
        join_rows: int | None = None,
        join_wait_s: float = 0.0,
        identity: Identity | None = None,
        admit: capabilities.Admit = capabilities.admit,
        inside: Inside | None = None,
        receiving: Receiving | None = None,
    ) -> None:
        self.service = service
        self.gate = Room(max_concurrency, max_queued, max_queued_bytes, inside)
        self.max_batch_bytes = max_batch_bytes
        self._joiner = Joiner(self.gate, join_rows, join_wait_s)
        self._timeout_s, self._on_hang, self._receiving = timeout_s, on_hang, receiving
        self._sessions: set[Session] = set()
        self._lock, self._numbers = threading.Lock(), itertools.count(1)
        self._stopped = threading.Event()
        listener = addresses.listen(host, port, backlog=512)
        self.endpoint: tuple[str, int] = host, listener.getsockname()[1]
        self._greeter = Greeter(
            listener,
            service.token,
            f"Cannot score with '{service.name}'",
            tls=None if identity is None else server_context(identity),
            admit=admit,
            take=self._start,
            others=lambda: len(self._sessions),
        )
        threading.Thread(target=self._watch, name="sparkmodel-watch", daemon=True).start()

    def __repr__(self) -> str:
        count = len(self._sessions) + len(self._greeter)
        return f"Server({self.service.name!r} on {addresses.spelled(*self.endpoint)}, {count} connections)"

    def configure(
        self,
        *,
        max_concurrency: int,
        max_queued: int,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        timeout_s: float,
        join_rows: int | None = None,
        join_wait_s: float = 0.0,
    ) -> None:
        """Take other limits, for what is waiting or in the model too."""
        self._timeout_s = timeout_s
        self.gate.resize(max_concurrency, max_queued, max_queued_bytes)
        self._joiner.configure(join_rows, join_wait_s)

    def close(self, drain_s: float = 0.0) -> None:
        """Send what waits and what comes elsewhere, then close.

        Args:
            drain_s: Longest time for what is in the model to be finished, and its answers to be sent; the clients are
                told before their connections close. With 0 they are cut.
        """
        self.gate.stop()
        deadline = time.monotonic() + drain_s
        while drain_s and not self._dismiss() and time.monotonic() < deadline:
            time.sleep(0.005)
        self._stopped.set()
        self._greeter.close()
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

    def _start(self, met: Met) -> None:
        number = next(self._numbers)
        session = Session(
            met, self.service, self.gate, self.max_batch_bytes, self._joiner, number, receiving=self._receiving
        )
        with self._lock:
            self._sessions.add(session)
        try:
            threading.Thread(target=self._serve, args=(session,), name="sparkmodel-session", daemon=True).start()
        except RuntimeError:  # no more threads
            self._forget(session)
            raise

    def _serve(self, session: Session) -> None:
        try:
            if not self._stopped.is_set():  # else close() may have missed it
                session.run()
        finally:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        session.close()
        with self._lock:
            self._sessions.discard(session)

    def _watch(self) -> None:
        """Tell callers that wait that the worker lives; end calls, and the worker, that hang."""
        told = time.monotonic()
        while not self._stopped.wait(min(p.KEEPALIVE_S, self._timeout_s / 4)):
            if self.gate.end_overdue(self._timeout_s, self._timeout_error()):
                self._hang()
                return
            now = time.monotonic()
            if now - told >= p.KEEPALIVE_S:
                told = now
                for session in self._open_sessions():
                    session.keep_alive()

    def _hang(self) -> None:
        self.gate.stop(at_once=True)
        self.gate.tell_again()
        time.sleep(_LINGER_S)
        self._dismiss()
        self._on_hang()

    def _timeout_error(self) -> SparkModelError:
        return PredictTimeoutError(
            f"Cannot score with '{self.service.name}'",
            f"the model took longer than timeout_s={self._timeout_s:g} for one call",
            "raise timeout_s, or make the batches smaller",
        )
