# SPDX-License-Identifier: Apache-2.0
"""The shared conversations: whole connections with a worker or a master that is done things to meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import PoolGoneError, PredictError, VersionRetiredError
from sparkmodel.wire import proofs
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.greeting import from_text
from sparkmodel.wire.server import Server
from tests.unit.wire.test_vectors import ARROW, VECTORS, feed
from tests.unit.wire.toys import RawClient, ToyService, ToyStream, ToyWorker, double, wait_until

FILE = VECTORS["conversations.json"]
WHAT = "Cannot score with 'toy'"


def refuse_negative(batch: pa.RecordBatch) -> pa.Array:
    if min(batch.column(0).to_pylist()) < 0:
        raise PredictError(WHAT, "the model raised ValueError: negative")
    return double(batch)


class Master(ToyService):
    """Holds all queries to one version, and does not score."""

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> tuple[ToyStream, pa.Schema]:
        raise PoolGoneError(WHAT, "a master does not score")

    def pin(self, query: str, digest: str, deadline: float) -> int:
        if digest not in FILE["master"]["answers_digests"]:
            raise VersionRetiredError(WHAT, "no version answers it")
        return super().pin(query, digest, deadline)


class Scene:
    """A worker or a master as conversations.json describes it, and what is done to it."""

    def __init__(self, who: str) -> None:
        about = FILE["worker"]
        kind = Master if who == "master" else ToyWorker
        self.service = kind(about["name"], about["secret"], about["version"])
        self.service.directory = Directory.from_dict(about["directory"])
        self.service.predict = refuse_negative
        self.service.accepts = tuple(about["accepts"])
        limits = {key: about[key] for key in ("max_batch_bytes", "max_concurrency", "max_queued")}
        self.server = Server(self.service, "127.0.0.1", **limits)
        self._others: list[RawClient] = []
        self._closer: threading.Thread | None = None

    def hold(self) -> None:
        """What is in the model, or enters it, stays there."""
        self.service.hold()

    def occupy(self, batches: int = 1) -> None:
        """A batch of another caller is in the model, and stays."""
        self.hold()
        for _ in range(batches):
            other = RawClient(self.server.endpoint)
            self._others.append(other)
            other.hello()
            other.open()
            other.batch(1, 1.0)
            wait_until(lambda: self.server.gate.load == len(self._others), "the batch of another caller has come")

    def fill(self) -> None:
        """One is in the model, and the queue is full."""
        self.occupy(FILE["worker"]["max_concurrency"] + FILE["worker"]["max_queued"])

    def release(self) -> None:
        """All of it goes on; returns when the batches of others are answered."""
        self.service.release()
        for other in self._others:
            other.answer()
            other.sock.close()
        wait_until(lambda: self._closer is not None or self.server.gate.load == 0, "the model is free")

    def has_come(self) -> bool:
        """Whether a batch of the client's waits or is in the model beside those of others."""
        return self.server.gate.load == len(self._others) + 1

    def stop(self) -> None:
        """The worker begins to drain."""
        self._closer = threading.Thread(target=self.server.close, kwargs={"drain_s": 60})
        self._closer.start()
        wait_until(lambda: self.server.gate.stopping, "it stops")

    def close(self) -> None:
        self.service.release()
        self.server.close()
        for other in self._others:
            other.sock.close()
        if self._closer is not None:
            self._closer.join(60)


@pytest.fixture
def scene() -> Iterator[Callable[[str], Scene]]:
    with contextlib.ExitStack() as stack:
        yield lambda who: stack.enter_context(contextlib.closing(Scene(who)))


@pytest.mark.parametrize("case", FILE["conversations"], ids=lambda case: case["name"])
def test_a_conversation_goes_as_stated(
    case: dict[str, Any], scene: Callable[[str], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "nonce", lambda: from_text(FILE["worker"]["nonce"]))
    played = scene(case["with"])
    with RawClient(played.server.endpoint) as client:
        for step in case["steps"]:
            if "do" in step:
                if step["do"] == "stop":
                    wait_until(played.has_come, "the batch has come before the worker stops")
                getattr(played, step["do"])()
                continue
            data = bytes.fromhex(step["hex"])
            if step["from"] == "client":
                client.say(data)
                continue
            with feed(data) as expected:
                if data.startswith(p.MAGIC):
                    p.read_preface(expected, "test")
                    p.read_preface(client.sock, "test")
                while expected.recv(1, socket.MSG_PEEK):
                    check_answer(client.answer(), p.read_answer(expected, "test"))
        if case["end"] == "closed":
            assert client.is_closed()
        else:
            client.request(p.HELLO, 9, b"{}")
            assert client.info()["number"] == 3


def check_answer(got: p.Answer, expected: p.Answer) -> None:
    """Equal but for times, error texts and the way that Arrow writes."""
    heads = [(answer.status, answer.seq, answer.revision, answer.load) for answer in (got, expected)]
    assert heads[0] == heads[1], bytes(got.payload)
    if expected.status == p.OK:
        schema = p.schema_from_text(ARROW["prediction"]["schema"], "test")
        batches = [p.batch_from_buffer(answer.payload, schema, "test") for answer in (got, expected)]
        assert batches[0].equals(batches[1])
        return
    said, wanted = (p.from_json(answer.payload, "test") for answer in (got, expected))
    assert said.keys() == wanted.keys()
    if expected.status in (p.ERROR, p.RETRY):
        assert said["condition"] == wanted["condition"]
    else:
        schemas = [
            p.schema_from_text(text, "test") for text in (said.pop("schema", ""), wanted.pop("schema", "")) if text
        ]
        assert all(schema == schemas[0] for schema in schemas)
        assert said == wanted
