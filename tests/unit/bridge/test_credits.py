# SPDX-License-Identifier: Apache-2.0
"""The bridge's client asks leave for a long batch, and never waits for it while it has answers to take."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError  # the builtin one since Python 3.11
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import DeadlineExceededError, PoolBusyError, SparkModelError, WorkerStoppingError
from sparkmodel.wire import protocol as p
from sparkmodel.wire.directory import Revision
from tests.bridge import JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.bridge.welcome import welcome
from tests.unit.wire.liar import Liar, hang_up
from tests.unit.wire.toys import RESULT, double, listing, numbers, wait_until

Pool = Callable[..., Client]
FREE = 500
LONG = [float(i) for i in range(100)]
SIZE = len(p.batch_to_buffer(numbers(*LONG)))


class Lender(Liar):
    """Gives leave as `grant` says, and answers what is sent.

    Attributes:
        grant: Answers a question for leave, given its JSON; None says nothing more and closes the connection.
        heard: What came, but for greetings: the type, the JSON or the values, and `budget_ms`.
        room: While it is not set, the answers are kept back.
        lost: Of these values the batch is never answered: its connection is closed.
        gone: Set when a connection is closed that had an answer.
    """

    def __init__(self, free: int | None = FREE) -> None:
        self.grant: Callable[[dict[str, Any]], Any] = lambda asked: {"granted": asked["bytes"]}
        self.heard: list[tuple[int, Any, int]] = []
        self.room = threading.Event()
        self.room.set()
        self.lost: list[float] | None = None
        self.gone = threading.Event()
        self._free = free
        super().__init__(hang_up)

    @property
    def types(self) -> list[int]:
        return [type_ for type_, _, _ in self.heard]

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), sock:
            request, has_answered = welcome(sock), False
            while True:
                said = None if request.type == p.BATCH else p.from_json(request.payload, "lender")
                if request.type == p.BATCH:
                    batch = p.batch_from_buffer(request.payload, numbers().schema, "lender")
                    said = batch.column(0).to_pylist()
                if request.type != p.HELLO:
                    self.heard.append((request.type, said, request.budget_ms))
                if request.type == p.BATCH:
                    self.room.wait(60)
                    if said == self.lost:
                        self.lost = None
                        return
                    result = pa.record_batch([double(batch)], schema=RESULT)
                    self._say(sock, request.seq, p.OK, p.batch_to_buffer(result))
                    has_answered = True
                elif request.type == p.CREDIT:
                    self._lend(sock, request, said)
                elif request.type == p.OPEN:
                    self._tell(sock, request.seq, {"schema": p.schema_to_text(RESULT), "version": 1})
                else:
                    free = {} if self._free is None else {"free_bytes": self._free}
                    told = {"max_batch_bytes": 1 << 20, **free, **listing(1).to_dict(), "pinned": 1}
                    self._tell(sock, request.seq, told)
                try:
                    request = p.read_request(sock, 1 << 20, "lender")
                except (OSError, EOFError):
                    if has_answered:
                        self.gone.set()
                    raise

    def _lend(self, sock: socket.socket, request: p.Request, said: Any) -> None:
        try:
            told = self.grant(said)
        except SparkModelError as error:
            status = p.ERROR if isinstance(error, DeadlineExceededError) else p.RETRY
            self._say(sock, request.seq, status, p.to_json(error.to_dict()))
            return
        if told is None:
            sock.shutdown(socket.SHUT_RDWR)
            raise EOFError
        self._say(sock, request.seq, p.ALIVE)
        self._tell(sock, request.seq, told)

    def _tell(self, sock: socket.socket, seq: int, told: dict[str, Any]) -> None:
        self._say(sock, seq, p.INFO, p.to_json(told))

    def _say(self, sock: socket.socket, seq: int, status: int, payload: Any = b"") -> None:
        p.send(sock, p.pack_answer(p.Answer(status, seq, Revision(1, 1), payload=payload)))


@pytest.fixture
def lend() -> Iterator[Callable[..., Lender]]:
    made: list[Lender] = []

    def lend_(**options: Any) -> Lender:
        made.append(Lender(**options))
        return made[-1]

    yield lend_
    for lender in made:
        lender.close()


def busy(asked: dict[str, Any]) -> Any:
    raise PoolBusyError("Cannot score with 'toy'", "no room")


def test_a_long_batch_is_sent_once_there_is_leave_and_a_short_one_at_once(lend: Any, pool: Pool) -> None:
    lender = lend()
    client = pool(lender)
    assert client.score(1.0) == [2.0]
    assert client.score(*LONG) == [2 * value for value in LONG]
    asked = {"bytes": SIZE}
    assert lender.heard[1:] == [(p.BATCH, [1.0], 0), (p.CREDIT, asked, 0), (p.BATCH, LONG, 0)]
    assert client.open_connections == 1


def test_nobody_is_asked_for_leave_who_gives_none(lend: Any, pool: Pool) -> None:
    lender = lend(free=None)
    assert pool(lender).score(*LONG) == [2 * value for value in LONG]
    assert lender.types == [p.OPEN, p.BATCH]


def test_a_worker_without_room_is_asked_again(lend: Any, pool: Pool) -> None:
    lender = lend()
    answers = iter([busy, busy])
    lender.grant = lambda asked: next(answers, lambda asked: {"granted": asked["bytes"]})(asked)
    client = pool(lender, max_retries=0)
    assert client.score(*LONG) == [2 * value for value in LONG]
    assert lender.types == [p.OPEN, p.CREDIT, p.CREDIT, p.CREDIT, p.BATCH]
    assert client.open_connections == 1


def test_a_worker_that_stops_before_it_gives_leave_sends_the_batch_elsewhere(lend: Any, pool: Pool) -> None:
    stopping, closing, other = lend(), lend(), lend()

    def stop(asked: dict[str, Any]) -> Any:
        raise WorkerStoppingError("Cannot score with 'toy'", "it stops")

    stopping.grant, closing.grant = stop, lambda asked: None
    client = pool(stopping, closing, other, max_retries=0)
    assert client.score(*LONG) == [2 * value for value in LONG]
    assert p.BATCH not in stopping.types + closing.types


def test_the_deadline_ends_the_wait_for_leave(lend: Any, pool: Pool) -> None:
    lender = lend()
    go_on = threading.Event()
    lender.grant = lambda asked: go_on.wait(60) and None
    client = pool(lender)
    with pytest.raises(JvmError) as caught:
        client.score(*LONG, timeout_s=0.5)
    assert caught.value.condition == "DEADLINE_EXCEEDED"
    assert 0 < lender.heard[1][2] <= 500, "the worker is told how long it may take"
    go_on.set()
    assert client.open_connections == 0


def test_leave_for_another_size_is_a_broken_promise(lend: Any, pool: Pool) -> None:
    lender = lend()
    lender.grant = lambda asked: {"granted": 1}
    with pytest.raises(JvmError, match="1 were granted") as caught:
        pool(lender).score(*LONG)
    assert caught.value.condition == "PROTOCOL_ERROR"


def test_a_caller_with_an_answer_to_take_does_not_wait_for_leave(lend: Any, pool: Pool) -> None:
    lender = lend()
    client = pool(lender)
    told = client.jvm.call("caller")
    lender.room.clear()
    first = client.submit(1.0, caller=told)
    lender.grant = busy
    second = client.submit(*LONG, caller=told)  # returns
    third = client.submit(3.0, caller=told)
    wait_until(lambda: len(lender.heard) == 4, "the second asked for leave, and the third waits behind it")
    assert lender.heard[-1] == (p.CREDIT, {"bytes": SIZE, "wait": False}, 0)
    other = client.submitted(*LONG)
    with pytest.raises(FutureTimeoutError):
        other.result(0.5)
    assert lender.heard[-1][1] == {"bytes": SIZE}, "who has nothing to take waits"
    lender.room.set()
    lender.grant = lambda asked: {"granted": asked["bytes"]}
    assert client.collect(first).values == [2.0]
    assert client.collect(second).values == client.collect(other.result(60)).values == [2 * value for value in LONG]
    assert client.collect(third).values == [6.0]
    assert client.score(*LONG, caller=told) == [2 * value for value in LONG], "nothing of the caller's is left"
    assert lender.heard[-2] == (p.CREDIT, {"bytes": SIZE}, 0)


def test_a_batch_that_was_left_can_be_given_up(lend: Any, pool: Pool) -> None:
    lender = lend()
    client = pool(lender)
    told = client.jvm.call("caller")
    first = client.submit(1.0, caller=told)
    lender.grant = busy
    second = client.submit(*LONG, caller=told)
    client.release(second)
    lender.grant = lambda asked: {"granted": asked["bytes"]}
    assert client.collect(first).values == [2.0]
    third = client.submit(*LONG, caller=told)
    wait_until(lambda: lender.types[-1] == p.BATCH, "it is sent")
    assert client.collect(third).values == [2 * value for value in LONG]


def test_a_lost_batch_gets_the_room_that_a_later_answer_of_its_caller_takes(lend: Any, pool: Pool) -> None:
    lender = lend()
    client = pool(lender, max_retries=1)
    told = client.jvm.call("caller")
    lender.room.clear()
    lender.lost = LONG
    first = client.submit(*LONG, caller=told)
    second = client.submit(2.0, caller=told)
    third = client.submit(3.0, caller=told)
    wait_until(lambda: lender.types.count(p.BATCH) == 3, "all are sent")
    # answers that nobody takes hold the room, until their connections are closed
    lender.grant = lambda asked: {"granted": asked["bytes"]} if lender.gone.is_set() else busy(asked)
    lender.room.set()
    assert client.collect(first).values == [2 * value for value in LONG]
    assert client.collect(second).values == [4.0]
    assert client.collect(third).values == [6.0]
    assert client.score(*LONG, caller=told) == [2 * value for value in LONG], "nothing of the caller's is left"
