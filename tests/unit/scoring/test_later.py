# SPDX-License-Identifier: Apache-2.0
"""Models that wait or give their answers piece by piece: coroutines, generators, and both."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import PredictError, PredictTimeoutError, SparkModelError, WrongRowCountError
from sparkmodel.schema import Column, Signature
from sparkmodel.scoring import later as later_module
from sparkmodel.scoring.later import Later
from tests import models
from tests.unit.pool.toys import Serve, eventually, score

X = Signature(inputs=(Column(name="x", type=pa.float64()),))


class Meter:
    """How many calls were under way at once."""

    def __init__(self) -> None:
        self.now = self.most = self.calls = 0

    def __enter__(self) -> None:
        self.now += 1
        self.calls += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


METER = Meter()


@pytest.fixture(autouse=True)
def meter() -> Meter:
    METER.__init__()  # type: ignore[misc]
    return METER


async def double(frame: pd.DataFrame) -> Any:
    """Waits, then doubles; a negative value is refused."""
    with METER:
        await asyncio.sleep(0.01)
    return models.ErrorModel().predict(frame) * 2


class Waits:
    """The same, as an object's method."""

    async def predict(self, frame: pd.DataFrame) -> Any:
        return await double(frame)


@pytest.mark.parametrize("source", [double, Waits()], ids=["function", "object"])
def test_a_coroutine_is_awaited(serve: Serve, source: Any) -> None:
    _, client = serve(source, signature=X)
    assert score(client, [1.0, 2.0]) == [2.0, 4.0]


def test_rows_are_scored_at_the_same_time_and_come_back_in_order(serve: Serve, meter: Meter) -> None:
    worker, client = serve(double, signature=X, batch_size=1, max_concurrency=16)
    values = [float(i) for i in range(100)]
    assert score(client, values) == [2 * value for value in values]
    assert (meter.most, meter.calls) == (16, 100)
    assert (worker.stats().calls, worker.stats().batches) == (100, 1)


def test_as_many_at_once_as_were_registered_and_no_more(serve: Serve, meter: Meter) -> None:
    _, client = serve(double, signature=X, batch_size=1)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda i: score(client, [float(i)] * 5), range(4)))
    assert answers == [[2.0 * i] * 5 for i in range(4)]
    assert meter.most == 1, "max_concurrency=1"


def test_callers_share_what_may_be_under_way(serve: Serve, meter: Meter) -> None:
    _, client = serve(double, signature=X, batch_size=1, max_concurrency=3)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda i: score(client, [float(i)] * 10), range(4)))
    assert answers == [[2.0 * i] * 10 for i in range(4)]
    assert meter.most == 3


def test_what_a_coroutine_raises_is_the_models_error_and_ends_the_others(serve: Serve, meter: Meter) -> None:
    _, client = serve(double, signature=X, batch_size=1, max_concurrency=2)
    with pytest.raises(PredictError, match="negative input -1") as caught:
        score(client, [-1.0] + [1.0] * 500)
    assert caught.value.details.startswith("The model's own traceback:")
    assert "scoring/later.py" not in caught.value.details
    assert meter.calls < 100
    eventually(lambda: METER.now == 0)
    assert score(client, [3.0]) == [6.0]


def test_rows_at_fault_cost_only_themselves(serve: Serve) -> None:
    for size in (1, 4, None):
        _, client = serve(double, signature=X, batch_size=size, max_concurrency=4, on_error="null")
        assert score(client, [1.0, -1.0, 2.0, 3.0, -4.0]) == [2.0, None, 4.0, 6.0, None]


ENDS: list[str] = []


async def hangs(frame: pd.DataFrame) -> Any:
    """Never answers for a negative value."""
    if (frame["x"] < 0).any():
        try:
            await asyncio.Event().wait()
        finally:
            ENDS.append("cancelled")
    await asyncio.sleep(0.01)
    return frame["x"]


def test_a_call_that_waits_too_long_ends_alone(serve: Serve) -> None:
    ended = threading.Event()
    ENDS.clear()
    worker, client = serve(hangs, signature=X, max_concurrency=4, timeout_s=0.5)
    worker._server._on_hang = ended.set  # type: ignore[union-attr]
    with ThreadPoolExecutor(2) as threads:
        lost = threads.submit(score, client, [-1.0], timeout_s=60)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert score(client, [1.0]) == [1.0]
        with pytest.raises(PredictTimeoutError):
            lost.result()
    assert ENDS == ["cancelled"]
    assert not ended.is_set()
    assert worker.stats().queued == 0


async def fails_or_hangs(frame: pd.DataFrame) -> Any:
    """Raises for a zero."""
    if not frame["x"].iloc[0]:
        raise ValueError("zero")
    return await hangs(frame)


def test_what_nobody_waits_for_any_more_is_cancelled(serve: Serve) -> None:
    ENDS.clear()
    worker, client = serve(fails_or_hangs, signature=X, batch_size=1, max_concurrency=3)
    with pytest.raises(PredictError, match="zero"):
        score(client, [1.0, 0.0, -1.0])
    eventually(lambda: ENDS == ["cancelled"])
    eventually(lambda: worker.stats().queued == 0)


def test_code_that_blocks_in_a_coroutine_does_not_stop_the_signs_of_life(serve: Serve) -> None:
    async def blocks(frame: pd.DataFrame) -> Any:
        time.sleep(1.5)
        return frame["x"]

    _, client = serve(blocks, signature=X, max_concurrency=2, timeout_s=0.1)
    # it is not stopped either: it has no step at which it could be
    with pytest.raises(SparkModelError):
        score(client, [1.0], timeout_s=60)
    _, client = serve(blocks, signature=X, max_concurrency=2, timeout_s=60)
    with ThreadPoolExecutor(2) as threads:
        assert [call.result() for call in [threads.submit(score, client, [float(i)]) for i in range(2)]] == [
            [0.0],
            [1.0],
        ]


def frames(frame: pd.DataFrame) -> Iterator[Any]:
    for start in range(0, len(frame), 2):
        yield frame["x"].iloc[start : start + 2] * 2


def values(frame: pd.DataFrame) -> Iterator[Any]:
    for value in frame["x"]:
        yield value * 2


async def later_values(frame: pd.DataFrame) -> AsyncIterator[Any]:
    for value in frame["x"]:
        await asyncio.sleep(0)
        yield value * 2


def mixed(frame: pd.DataFrame) -> Iterator[Any]:
    yield frame["x"].iloc[0] * 2
    yield from frame["x"].iloc[1:3] * 2
    yield list(frame["x"].iloc[3:] * 2)


@pytest.mark.parametrize("source", [frames, values, later_values, mixed])
def test_the_pieces_of_a_generator_are_put_together(serve: Serve, source: Any) -> None:
    _, client = serve(source, signature=X)
    assert score(client, [1.0, 2.0, 3.0, 4.0, 5.0]) == [2.0, 4.0, 6.0, 8.0, 10.0]


def test_a_generator_of_texts_gives_one_for_each_row(serve: Serve) -> None:
    def texts(frame: pd.DataFrame) -> Iterator[str]:
        yield from (f"<{value:g}>" for value in frame["x"])

    _, client = serve(texts, signature=X, result_type=pa.string())
    assert score(client, [1.0, 2.0]) == ["<1>", "<2>"]


def test_the_rows_of_its_pieces_are_counted(serve: Serve) -> None:
    def few(frame: pd.DataFrame) -> Iterator[Any]:
        yield frame["x"].iloc[:2]
        yield 1.0

    _, client = serve(few, signature=X)
    assert score(client, [1.0, 2.0, 3.0]) == [1.0, 2.0, 1.0]
    with pytest.raises(WrongRowCountError, match="gave 3 rows, in 2 pieces, for a batch of 4"):
        score(client, [1.0] * 4)


def test_a_generator_that_raises_amid_its_pieces_is_the_models_error(serve: Serve) -> None:
    def breaks(frame: pd.DataFrame) -> Iterator[Any]:
        yield 1.0
        raise ValueError("amid")

    _, client = serve(breaks, signature=X)
    with pytest.raises(PredictError, match="ValueError: amid"):
        score(client, [1.0, 2.0])


def test_what_would_end_the_loop_does_not(serve: Serve) -> None:
    async def leaves(frame: pd.DataFrame) -> Any:
        if frame["x"].iloc[0] < 0:
            raise SystemExit(3)
        return frame["x"]

    _, client = serve(leaves, signature=X)
    with pytest.raises(PredictError, match="SystemExit: 3"):
        score(client, [-1.0])
    assert score(client, [1.0]) == [1.0]


def test_a_call_that_is_cancelled_before_its_first_step_ends_too() -> None:
    """Else it would keep its place at the model for ever, and its worker would be ended for it."""
    ends: list[str] = []
    busy = threading.Event()
    later_module._the_loop().call_soon_threadsafe(busy.wait)  # another model keeps the loop meanwhile
    calls = [Later(double(pd.DataFrame({"x": [1.0]}))) for _ in range(2)]
    calls[0].start(lambda: ends.append("first"))
    calls[0].cancel()
    calls[1].cancel()  # as one whose time is over just before it is begun
    calls[1].start(lambda: ends.append("second"))
    busy.set()
    eventually(lambda: all(call.is_there for call in calls))
    assert ends == ["first", "second"]
    for call in calls:
        with pytest.raises(asyncio.CancelledError):
            call.result()
