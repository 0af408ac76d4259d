# SPDX-License-Identifier: Apache-2.0
"""Servers that say what calls.json has them say, and what they heard; for the clients of both languages."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Revision
from sparkmodel.wire.verdicts import key_of
from tests.unit.wire.liar import dead_endpoint
from tests.unit.wire.toys import greet

_TYPES = {
    p.HELLO: "HELLO",
    p.OPEN: "OPEN",
    p.BATCH: "BATCH",
    p.PIN: "PIN",
    p.CREDIT: "CREDIT",
    p.FATE: "FATE",
    p.CONDEMN: "CONDEMN",
}
_STATUSES = {"OK": p.OK, "ERROR": p.ERROR, "RETRY": p.RETRY, "ALIVE": p.ALIVE, "INFO": p.INFO}


class Script:
    """The servers of one case of calls.json, on ports of loopback.

    Attributes:
        endpoints: Where each is, by its name; nobody listens at one that is null in the file.
        heard: The requests that each was sent, in order, but for HELLO and CREDIT.

    Args:
        case: The case.
        arrow: The entries of arrow.json by name.
    """

    def __init__(self, case: dict[str, Any], arrow: dict[str, dict[str, Any]]) -> None:
        self._case, self._arrow = case, arrow
        self._socks: list[socket.socket] = []
        self._asked: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self.heard: dict[str, list[dict[str, Any]]] = {name: [] for name in case["servers"]}
        live = sorted(name for name, server in case["servers"].items() if server is not None)
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in live]
        # ports in the order of names: the last of a version's workers is known by its name
        self._listeners.sort(key=lambda listener: listener.getsockname()[1])
        self.endpoints = dict.fromkeys(case["servers"], dead_endpoint())
        self.endpoints |= {name: listener.getsockname() for name, listener in zip(live, self._listeners, strict=True)}
        for name, listener in zip(live, self._listeners, strict=True):
            threading.Thread(target=self._accept, args=(name, listener), daemon=True).start()

    def directory(self, value: dict[str, Any]) -> dict[str, Any]:
        """A directory of the file with the ports in the place of the servers' names, and verdicts with their keys."""
        master = value["master"]
        entries = [
            {**served, "endpoints": [self.endpoints[n] for n in served["endpoints"]]} for served in value["served"]
        ]
        found = {**value, "served": entries, "master": None if master is None else self.endpoints[master]}
        if "condemned" in value:
            found["condemned"] = [{**verdict, **self._known(verdict["batch"])} for verdict in value["condemned"]]
        return found

    def _known(self, name: str) -> dict[str, Any]:
        """By what a batch is known, sent by position with the case's digest and no options."""
        schema = p.schema_from_text(self._arrow[name]["schema"], "script")
        batch = p.batch_from_buffer(bytes.fromhex(self._arrow[name]["hex"]), schema, "script")
        payload = p.batch_to_buffer(batch)
        stream = {"binding": "position", "digest": self._case["call"]["digest"], "schema": p.schema_to_text(schema)}
        return {"key": key_of(p.to_json(stream), payload), "rows": batch.num_rows, "bytes": len(payload)}

    def close(self) -> None:
        """End all of them."""
        for sock in (*self._listeners, *self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self, name: str, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                self._socks.append(sock)
                threading.Thread(target=self._serve, args=(name, sock), daemon=True).start()

    def _serve(self, name: str, sock: socket.socket) -> None:
        stream: list[pa.Schema] = []
        with contextlib.suppress(OSError, EOFError), sock:
            greet(sock)
            request = p.Request(p.HELLO, 0, 0, b"{}")  # what is said after a proof is what a hello is answered with
            while True:
                frames = self._answer(name, request, stream)
                time.sleep(sum(frame.get("seconds", 0.0) for frame in frames))
                # in one piece, so that a client finds all of it
                p.send(sock, [b"".join(bytes(part) for part in self._packed(frames, request))])
                if {"do": "close"} in frames:
                    sock.shutdown(socket.SHUT_RDWR)
                    return
                if self._drops(name, sock):
                    return
                request = p.read_request(sock, 1 << 28, "script")

    def _drops(self, name: str, sock: socket.socket) -> bool:
        """Whether the next request is one that is not read: then the connection is reset while it is being sent."""
        head = sock.recv(p.REQUEST.size, socket.MSG_PEEK | socket.MSG_WAITALL)
        answers = self._case["servers"][name].get(_TYPES.get(head[0], "")) if head else None
        if not answers or {"do": "drop"} not in self._next(name, _TYPES[head[0]], answers, peek=True):
            return False
        with self._lock:
            self.heard[name].append({"type": _TYPES[head[0]]})
        self._next(name, _TYPES[head[0]], answers)
        return True

    def _next(self, name: str, type_: str, answers: list[Any], peek: bool = False) -> list[dict[str, Any]]:
        """The frames for a request: the answers of a type come one after the other, and the last one again."""
        with self._lock:
            count = self._asked.get((name, type_), 0) + 1
            if not peek:
                self._asked[name, type_] = count
        frames: list[dict[str, Any]] = answers[min(count, len(answers)) - 1]
        return frames

    def _answer(self, name: str, request: p.Request, stream: list[pa.Schema]) -> list[dict[str, Any]]:
        type_ = _TYPES[request.type]
        if type_ == "CREDIT":
            return [{"status": "INFO", "incarnation": 0, "number": 0, "json": p.from_json(request.payload, "script")}]
        said: dict[str, Any] = {"type": type_}
        if request.type == p.BATCH:
            batch = p.batch_from_buffer(request.payload, stream[-1], "script")
            said |= {"flags": request.flags, "values": batch.column(0).slice(0, 10).to_pylist()}
        else:
            said["json"] = p.from_json(request.payload, "script")
        if request.type == p.OPEN:
            stream.append(p.schema_from_text(said["json"]["schema"], "script"))
        if request.type == p.FATE:
            asked = tuple(said["json"]["endpoint"])
            said["json"]["endpoint"] = next(name for name, known in self.endpoints.items() if known == asked)
        if request.type != p.HELLO:
            with self._lock:
                self.heard[name].append(said)
        server = self._case["servers"][name]
        return self._next(name, type_, server.get(type_) or server["HELLO"])

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
            return bytes.fromhex(self._arrow[frame["batch"]]["hex"])
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
            said, told = ({**part.get("json", {}), **part} for part in (request, want))
            found += [
                f"{name} heard {key}={said.get(key)!r}" for key in told if key != "json" and said.get(key) != told[key]
            ]
    return found


def batch_of(given: str | dict[str, Any], arrow: dict[str, dict[str, Any]]) -> pa.RecordBatch:
    """A batch of a call: an entry of arrow.json, or its rows so many times over."""
    name, times = (given, 1) if isinstance(given, str) else (given["batch"], given["times"])
    schema = p.schema_from_text(arrow[name]["schema"], "script")
    batch = p.batch_from_buffer(bytes.fromhex(arrow[name]["hex"]), schema, "script")
    if times == 1:
        return batch
    return pa.Table.from_batches([batch] * times).combine_chunks().to_batches()[0]
