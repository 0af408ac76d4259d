# SPDX-License-Identifier: Apache-2.0
"""Programs that have the port of a worker that died, and would like to be taken for it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from sparkmodel.wire import proofs
from sparkmodel.wire import protocol as p
from sparkmodel.wire.greeting import from_text, to_text


class Spy:
    """Has the port of a worker that died: says what a test has it say, and keeps what it hears."""

    def __init__(self, say: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]) -> None:
        self.heard = b""
        self._say = say
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with sock, contextlib.suppress(OSError, EOFError):
                    sock.settimeout(60)
                    p.send(sock, [p.pack_preface()])
                    self.heard += (first := p.receive_exactly(sock, p.PREFACE.size + p.REQUEST.size))
                    size = p.REQUEST.unpack(first[p.PREFACE.size :])[-1]
                    self.heard += (said := p.receive_exactly(sock, size))
                    status, answer = self._say(p.from_json(said, "test"))
                    p.send(sock, p.pack_answer(p.Answer(status, 0, payload=p.to_json(answer))))
                    while more := sock.recv(4096):
                        self.heard += more

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)


def guesses(hello: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return p.INFO, {"nonce": to_text(bytes(32)), "proof": to_text(bytes(32))}


def reflects(hello: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return p.INFO, {"nonce": hello["nonce"], "proof": hello["nonce"]}


def of_another_pool(hello: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    key, nonce = proofs.key_of("another pool's", hello["claims"]), proofs.nonce()
    proof = proofs.servers_proof(key, from_text(hello["nonce"]), nonce, hello["claims"])
    return p.INFO, {"nonce": to_text(nonce), "proof": to_text(proof)}


def as_of_before(hello: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return p.INFO, {"max_batch_bytes": 1 << 20, "incarnation": 1, "number": 1, "state": "ready", "served": []}


def condemns(hello: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return p.ERROR, {"condition": "PREDICT_FAILED", "what": "Cannot score", "fact": "the model raised"}


LIES = [guesses, reflects, of_another_pool, as_of_before, condemns]
