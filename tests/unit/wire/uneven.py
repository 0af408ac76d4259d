# SPDX-License-Identifier: Apache-2.0
"""A slow server beside a fast one, for the clients of both languages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from sparkmodel.wire.server import Server
from tests.unit.wire.toys import RawClient, ToyService, double, wait_until

SLOW_S, FAST_S = 0.1, 0.01
OLD_S = 20 * SLOW_S  # after which the slow one may be tried again
CLIENTS = 8  # each would give its first batch to the slow one in every other run, if it were not told


def after(seconds: float) -> Callable[[pa.RecordBatch], pa.Array]:
    """A model that takes its time."""

    def predict(batch: pa.RecordBatch) -> pa.Array:
        time.sleep(seconds)
        return double(batch)

    return predict


def warm(server: Server, batches: int = 4) -> None:
    """Give one server so many batches, which are not counted as seen."""
    with RawClient(server.endpoint) as client:
        client.hello()
        client.open()
        for seq in range(1, batches + 1):
            client.batch(seq, 1)
            client.values(seq)
    seen_of(server).clear()


def seen_of(server: Server) -> list[float]:
    """What the model of a server has seen."""
    assert isinstance(server.service, ToyService)
    return server.service.seen


def undisturbed(slow: Server, score: Callable[[], None]) -> None:
    """Have the slow server tell how slow it is, then score some batches, until nothing else was in the way.

    On a machine that stopped meanwhile what it told may be old, or the fast one as slow: then a client is right to try.
    """
    for _ in range(50):
        warm(slow, 1)
        began = time.monotonic()
        score()
        if time.monotonic() - began - SLOW_S * len(seen_of(slow)) < 3 * SLOW_S:
            return
    raise AssertionError("the machine stops all the time")


class Pauses:
    """Entered while something is measured: the longest time for which this process did not get its turn."""

    def __enter__(self) -> Pauses:
        self.longest_s, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._done.wait(0.005):
            now = time.monotonic()
            self.longest_s, last = max(self.longest_s, now - last), now


def uneven(serve: Callable[..., Server]) -> tuple[Server, Server]:
    """A slow server and a fast one, each of which has had some batches."""
    made = []
    for seconds in (SLOW_S, FAST_S):
        service = ToyService()
        service.predict = after(seconds)
        made.append(serve(service))
        warm(made[-1])
    return made[0], made[1]


def busy_before(serve: Callable[..., Server], client_of: Callable[[Server, Server], Callable[[int], object]]) -> None:
    """A client that comes while the fast one has another's first batch goes to the slow one, but not for good.

    Args:
        serve: Makes a server.
        client_of: Makes a client of the two, which scores a number.
    """
    slow, fast = serve(ToyService()), serve(ToyService())
    assert isinstance(slow.service, ToyService)
    assert isinstance(fast.service, ToyService)
    slow.service.predict, fast.service.predict = after(SLOW_S), after(FAST_S)
    score = client_of(slow, fast)
    with RawClient(fast.endpoint) as other, ThreadPoolExecutor(1) as thread, fast.service.held():
        other.hello()
        other.open()
        other.batch(1, 1)
        wait_until(lambda: seen_of(fast) == [1], "it is busy")
        first = thread.submit(score, 1)
        wait_until(lambda: seen_of(slow) == [1] or fast.gate.load == 2, "the client has chosen")
        fast.service.release()
        first.result(60)
    for _ in range(40):
        score(1)
    assert len(seen_of(fast)) > 30
