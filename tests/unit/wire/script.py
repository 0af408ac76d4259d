# SPDX-License-Identifier: Apache-2.0
"""Servers that say what calls.json has them say, and what they heard; for the clients of both languages."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Revision
from tests.unit.wire.liar import dead_endpoint

_TYPES = {p.HELLO: "HELLO", p.OPEN: "OPEN", p.BATCH: "BATCH", p.PIN: "PIN"}
_STATUSES = {"OK": p.OK, "ERROR": p.ERROR, "RETRY": p.RETRY, "ALIVE": p.ALIVE, "INFO": p.INFO}


class Script:
    """The servers of one case of calls.json, on ports of loopback.

    Attributes:
        endpoints: Where each is, by its name; nobody listens at one that is null in the file.
        heard: The requests that each was sent, in order, but for HELLO.

    Args:
        case: The case.
        batches: Arrow messages by the name that arrow.json has for them.
    """

    def __init__(self, case: dict[str, Any], batches: dict[str, bytes]) -> None:
        self._case, self._batches = case, batches
        self._listeners: list[socket.socket] = []
        self._socks: list[socket.socket] = []
        self._asked: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self.endpoints: dict[str, tuple[str, int]] = {}
        self.heard: dict[str, list[dict[str, Any]]] = {name: [] for name in case["servers"]}
        for name, server in case["servers"].items():
            self.endpoints[name] = dead_endpoint() if server is None else self._listen(name)

    def directory(self, value: dict[str, Any]) -> dict[str, Any]:
        """A directory of the file with the ports in the place of the servers' names."""
        master = value["master"]
        entries = [
            {**served, "endpoints": [self.endpoints[n] for n in served["endpoints"]]} for served in value["served"]
        ]
        return {**value, "served": entries, "master": None if master is None else self.endpoints[master]}

    def close(self) -> None:
        """End all of them."""
        for sock in (*self._listeners, *self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _listen(self, name: str) -> tuple[str, int]:
        listener = socket.create_server(("127.0.0.1", 0))
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(name, listener), daemon=True).start()
        address: tuple[str, int] = listener.getsockname()
        return address

    def _accept(self, name: str, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                self._socks.append(sock)
                threading.Thread(target=self._serve, args=(name, sock), daemon=True).start()

    def _serve(self, name: str, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), sock:
            p.send(sock, [p.pack_preface()])
            p.read_preface(sock, "script")
            while True:
                request = p.read_request(sock, 1 << 20, "script")
                frames = self._answer(name, request)
                # in one piece, so that a client finds all of it
                p.send(sock, [b"".join(bytes(part) for part in self._packed(frames, request))])
                if any("do" in frame for frame in frames):
                    sock.shutdown(socket.SHUT_RDWR)
                    return

    def _answer(self, name: str, request: p.Request) -> list[dict[str, Any]]:
        """The frames for a request: the answers of a type come one after the other, and the last one again."""
        type_ = _TYPES[request.type]
        with self._lock:
            if request.type != p.HELLO:
                is_json = request.type != p.BATCH
                said = {"json": p.from_json(request.payload, "script")} if is_json else {}
                self.heard[name].append({"type": type_, **said})
            count = self._asked[name, type_] = self._asked.get((name, type_), 0) + 1
        answers: list[list[dict[str, Any]]] = self._case["servers"][name][type_]
        return answers[min(count, len(answers)) - 1]

    def _packed(self, frames: list[dict[str, Any]], request: p.Request) -> Iterator[Any]:
        for frame in frames:
            if "do" not in frame:
                revision = Revision(frame["incarnation"], frame["number"])
                head = p.Answer(
                    _STATUSES[frame["status"]],
                    frame.get("seq", request.seq),
                    revision,
                    load=frame.get("load", 0),
                    payload=self._payload(frame),
                )
                yield from p.pack_answer(head)

    def _payload(self, frame: dict[str, Any]) -> bytes:
        if "batch" in frame:
            return self._batches[frame["batch"]]
        if "hex" in frame:
            return bytes.fromhex(frame["hex"])
        value = frame.get("json")
        if value is None:
            return b""
        return p.to_json({**value, **self.directory(value)} if "served" in value else value)


def differences(expected: dict[str, Any], heard: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What a client said otherwise than expected; nothing if all is well."""
    found = []
    for name, wanted in expected.get("heard", {}).items():
        types = [request["type"] for request in heard[name]]
        if types != [request["type"] for request in wanted]:
            found.append(f"{name} heard {types}")
            continue
        for request, want in zip(heard[name], wanted, strict=True):
            said, told = request.get("json", {}), want.get("json", {})
            found += [f"{name} heard {key}={said.get(key)!r}" for key in told if said.get(key) != told[key]]
    return found
