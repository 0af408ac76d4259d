# SPDX-License-Identifier: Apache-2.0
"""Workers that are not what they claim to be, for what a client must survive."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Endpoint, Revision
from tests.unit.wire.toys import RESULT, greet, listing


class Liar:
    """Greets and opens streams as a worker does; what it does with a batch is the test's choice."""

    def __init__(self, on_batch: Callable[[socket.socket, int], None], version: int = p.VERSION) -> None:
        self.batches = 0
        self._on_batch, self._version = on_batch, version
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint: tuple[str, int] = self._listener.getsockname()
        self._socks: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socks.append(self._listener.accept()[0])
                threading.Thread(target=self._serve, args=(self._socks[-1],), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), sock:
            if self._version != p.VERSION:
                p.send(sock, [p.pack_preface(self._version)])
                while sock.recv(1 << 16):
                    pass
                return
            greet(sock)
            request = p.Request(p.HELLO, 0, 0, b"")
            while True:
                if request.type == p.BATCH:
                    self.batches += 1
                    self._on_batch(sock, request.seq)
                    request = p.read_request(sock, 1 << 20, "liar")
                    continue
                greeting = {"max_batch_bytes": 1 << 20, **listing(1).to_dict(), "pinned": 1}
                opened = {"schema": p.schema_to_text(RESULT), "version": 1}
                reply = opened if request.type == p.OPEN else greeting
                p.send(sock, p.pack_answer(p.Answer(p.INFO, request.seq, Revision(1, 1), payload=p.to_json(reply))))
                request = p.read_request(sock, 1 << 20, "liar")


def hang_up(sock: socket.socket, _: int) -> None:
    """Die as a worker that was killed does."""
    sock.shutdown(socket.SHUT_RDWR)


def say_nothing(_: socket.socket, __: int) -> None:
    """Neither an answer nor a sign of life."""


def dead_endpoint() -> tuple[str, int]:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
    return address


@contextlib.contextmanager
def another_program() -> Iterator[Endpoint]:
    """Where a program of another protocol listens, such as one that has the port of a dead worker now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak_http() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=speak_http, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
