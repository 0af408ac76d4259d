# SPDX-License-Identifier: Apache-2.0
"""Thousands of answers that were changed on their way, to the bridge's client: an error or the right rows, and soon.

    SPARKMODEL_FUZZ=10000 SPARKMODEL_FUZZ_SEED=7 pytest tests/unit/bridge/test_fuzz.py

An answer may have other values than were sent only where its Arrow message was changed, for it carries no checksum;
even then it has as many rows as were asked, and holds together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import socket
import struct
from concurrent.futures import Future
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import PoolBusyError, PredictError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Revision
from tests.bridge import Jvm, JvmError
from tests.unit.bridge.conftest import Client, text_of
from tests.unit.bridge.welcome import welcome
from tests.unit.wire.liar import Liar, hang_up
from tests.unit.wire.toys import handle_of, listing, numbers

CASES = int(os.environ.get("SPARKMODEL_FUZZ", "500"))
SEED = int(os.environ.get("SPARKMODEL_FUZZ_SEED", "13"))
AT_ONCE = 32  # most of them wait: for an answer that does not come, or to be told that it will not
DONE_S = 60.0  # far more than the client's own limits together
WHAT = "Cannot score with 'toy'"
REVISION = Revision(1, 1)
STRUCT = pa.struct([("prediction", pa.float64()), ("error", pa.string()), ("version", pa.int32())])
ANSWERS = {
    "doubles": pa.array([2.0, None, 6.0], pa.float64()),
    "texts": pa.array(["a", "", "long text " * 9], pa.string()),
    "lists": pa.array([[1.0, 2.0], None, []], pa.list_(pa.float64())),
    "structs": pa.array([{"prediction": 2.0, "error": None, "version": 1}, None, {"error": "no"}], STRUCT),
    "booleans": pa.array([True, False, None], pa.bool_()),
}
NUMBERS = (0, 1, 7, 8, 255, 1 << 16, (1 << 20) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1)
WORDS = ("null", "-1", "1e400", '"x"', "[]", "{}", "[" * 3000, "true", str(1 << 70), '"\\ud800"', "0.5")


@dataclasses.dataclass(frozen=True)
class Case:
    """What a server says: the frames of its greeting, of OPEN and of BATCH, with what was changed in one of them."""

    kind: str
    frames: dict[int, bytes]
    in_message: bool  # whether the Arrow message was changed
    stays: bool  # whether the server keeps the connection open afterwards


def frame(status: int, seq: int, payload: Any = b"") -> bytes:
    answer = p.Answer(status, seq, REVISION, payload=payload)
    return b"".join(bytes(part) for part in p.pack_answer(answer))


def made(rng: random.Random) -> Case:
    kind = rng.choice(list(ANSWERS))
    schema = pa.schema([pa.field("prediction", ANSWERS[kind].type)])
    message = bytes(p.batch_to_buffer(pa.record_batch([ANSWERS[kind]], schema=schema)))
    error = rng.choice([PredictError(WHAT, "negative", details="Traceback\n"), PoolBusyError(WHAT, "full")])
    refusal = frame(p.RETRY if isinstance(error, PoolBusyError) else p.ERROR, 1, p.to_json(error.to_dict()))
    frames = {
        p.HELLO: frame(p.INFO, 0, p.to_json({"max_batch_bytes": 1 << 20, "pinned": 1, **listing(1).to_dict()})),
        p.OPEN: frame(p.INFO, 0, p.to_json({"schema": p.schema_to_text(schema), "version": 1})),
        p.BATCH: frame(p.ALIVE, 1) * rng.randrange(2) + frame(p.OK, 1, message),
    }
    which = rng.choices([p.HELLO, p.OPEN, p.BATCH], [1, 2, 7])[0]
    if which == p.BATCH and rng.random() < 0.15:
        frames[which] = refusal
    whole = frames[which]
    frames[which] = rng.choice(CHANGES)(whole, rng)
    in_message = which == p.BATCH and not frames[which].endswith(whole[-len(message) :])
    return Case(kind, frames, in_message or which == p.OPEN, rng.random() < 0.03)


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def in_head(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(min(p.ANSWER.size, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def more(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randint(1, 64)) + data[at:]


def number(data: bytes, rng: random.Random) -> bytes:
    """Some number of it becomes one at the edge of what fits."""
    form = rng.choice([">I", "<i", ">Q", "<q"])
    size = struct.calcsize(form)
    value = rng.choice(NUMBERS) & (1 << 8 * size - 1) - 1
    at = rng.randrange(max(1, len(data) - size))
    return data[:at] + struct.pack(form, value) + data[at + size :]


def length(data: bytes, rng: random.Random) -> bytes:
    head = p.ANSWER.size
    return data[: head - 8] + struct.pack(">Q", rng.choice(NUMBERS)) + data[head:]


def other(data: bytes, rng: random.Random) -> bytes:
    """The answer to another batch comes first."""
    return frame(p.OK, rng.choice([0, 2, 9]), data[p.ANSWER.size :]) + data


def twice(data: bytes, rng: random.Random) -> bytes:
    return data + data


def words(data: bytes, rng: random.Random) -> bytes:
    """Some value of a JSON text becomes another, with the right length; what is no JSON gets any bytes."""
    head, body = data[: p.ANSWER.size], data[p.ANSWER.size :]
    places = [i for i, byte in enumerate(body) if byte == ord(":")] if body[:1] == b"{" else []
    if not places:
        return flip(data, rng)
    at = rng.choice(places) + 1
    end = next((i for i in range(at, len(body)) if body[i] in b",}"), len(body))
    changed = body[:at] + rng.choice(WORDS).encode() + body[end:]
    return head[:-8] + struct.pack(">Q", len(changed)) + changed


CHANGES = (flip, flip, in_head, cut, more, number, number, length, other, twice, words)


class Changed(Liar):
    """Says what a case has it say, once, and hangs up."""

    def __init__(self) -> None:
        self.case: Case | None = None
        super().__init__(hang_up)

    def _serve(self, sock: socket.socket) -> None:
        case = self.case
        assert case is not None
        with contextlib.suppress(OSError, EOFError), sock:
            sock.settimeout(DONE_S)
            request = welcome(sock)
            while True:
                said = case.frames[request.type if request.type in case.frames else p.HELLO]
                sock.sendall(said)
                if request.type == p.BATCH and not case.stays:
                    sock.shutdown(socket.SHUT_WR)  # so that nobody waits for the rest of a long answer
                request = p.read_request(sock, 1 << 20, "changed")


@pytest.mark.fault("F27")
def test_changed_answers_are_errors_or_right_and_leave_nothing_behind(jvm: Jvm) -> None:
    rng = random.Random(SEED)
    servers = [Changed() for _ in range(AT_ONCE)]
    batch = Client(jvm, 0).batch(numbers(1, 2, 3))
    handles = [
        text_of(handle_of(server, pool_id="fuzz", timeout_s=0.2, ready_timeout_s=0.1, max_retries=0))
        for server in servers
    ]
    before = jvm.call("memory")
    seen: dict[str, int] = {}

    def start(place: int) -> Future[Any]:
        servers[place].case = made(rng)
        told = batch | {"handle": handles[place], "timeout_s": 0.4}  # who is always told to wait ends by this
        return jvm.start("fuzz", **told, silence_s=0.2, gone_s=0.1)

    def judge(place: int, outcome: Future[Any], number: int) -> None:
        case = servers[place].case
        assert case is not None
        told = f"case {number} of seed {SEED}"
        error = outcome.exception(DONE_S)
        if isinstance(error, JvmError):
            seen[error.condition] = seen.get(error.condition, 0) + 1
            is_ours = "ModelException" in error.parts["class"]
            assert is_ours or "OutOfMemory" in error.condition, f"{told}: {error.parts}"
            return
        values = outcome.result()
        assert len(values) == 3, told
        is_right = values == ANSWERS[case.kind].to_pylist()
        assert is_right or case.in_message, f"{told}: {values}"
        seen["right" if is_right else "other values"] = seen.get("right" if is_right else "other values", 0) + 1

    try:
        under_way = {place: (start(place), place) for place in range(AT_ONCE)}
        for number_ in range(CASES):
            place = number_ % AT_ONCE
            judge(place, under_way[place][0], number_)
            under_way[place] = (start(place), number_)
        for place, (outcome, number_) in under_way.items():
            judge(place, outcome, number_)
        after = jvm.call("memory")
    finally:
        for server in servers:
            server.close()
    assert seen["PROTOCOL_ERROR"] > CASES / 5, seen
    assert seen["right"] > CASES / 50, seen
    assert [new - old for new, old in zip(after, before, strict=True)] < [64 << 20, 64 << 20], (before, after)
    print(seen, before, after)
