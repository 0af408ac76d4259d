# SPDX-License-Identifier: Apache-2.0
"""Large batches are cut, small ones of concurrent callers are joined, and each answer goes back to its caller."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sparkmodel.errors import PredictError, PredictTimeoutError
from sparkmodel.schema import Column, Signature
from tests import models
from tests.unit.pool.toys import Serve, eventually, score
from tests.unit.wire.toys import HandleClient

X = Signature(inputs=(Column(name="x", type=pa.float64()),))


class Sizes:
    """Doubles, and notes the rows of each call in a list that tests read."""

    seen: list[int]

    def __init__(self, gate: str) -> None:
        self.go = GATES.get(gate)

    def predict(self, data: Any) -> Any:
        SEEN.append(len(data))
        assert self.go is None or self.go.wait(120)
        return models.ErrorModel().predict(data) * 2


SEEN: list[int] = []
GATES: dict[str, threading.Event] = {}


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def pair(gate: str = "") -> Any:
    """A model that is made in the worker, which is this process; it waits for one of GATES, if that is named."""
    return (lambda: Sizes(gate)), (lambda model, data: model.predict(data))


def at_once(client: HandleClient, values: list[list[float]]) -> list[Any]:
    """The answers, or errors, of as many callers as there are lists, who all start together."""
    barrier = threading.Barrier(len(values))

    def call(some: list[float]) -> Any:
        barrier.wait()
        try:
            return score(client, some, timeout_s=200)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(values)) as threads:
        return list(threads.map(call, values))


def test_a_large_batch_is_cut_and_comes_back_whole_and_in_order(serve: Serve) -> None:
    worker, client = serve(pair(), signature=X, batch_size=300)
    values = np.arange(1000.0)
    assert score(client, list(values)) == list(values * 2)
    assert SEEN == [300, 300, 300, 100]
    stats = worker.stats()
    assert (stats.batches, stats.rows, stats.calls) == (1, 1000, 4)


def test_small_batches_of_concurrent_callers_are_joined_up_to_the_size(serve: Serve) -> None:
    _, client = serve(pair(), signature=X, batch_size=8, batch_wait_s=200.0)
    values = [[float(i), i + 0.5] for i in range(8)]
    started = time.monotonic()
    assert at_once(client, values) == [[2.0 * a, 2 * b] for a, b in values]
    assert SEEN == [8, 8]
    assert time.monotonic() - started < 150  # a full group does not wait for its time


def test_a_batch_that_nobody_joins_waits_its_time_only(serve: Serve) -> None:
    _, client = serve(pair(), signature=X, batch_size=8, batch_wait_s=0.3)
    assert score(client, [1.0]) == [2.0]
    assert SEEN == [1]


def test_without_waiting_those_are_joined_that_queue_anyway(serve: Serve) -> None:
    go = GATES["first"] = threading.Event()
    worker, client = serve(pair("first"), signature=X, batch_size=100)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(score, client, [1.0])
        eventually(lambda: SEEN == [1])
        others = threads.submit(at_once, client, [[float(i)] for i in range(10)])
        assert worker._server is not None
        groups = worker._server._joiner._open
        eventually(lambda: [group.rows for group in list(groups.values())] == [10])
        go.set()
        assert others.result() == [[2.0 * i] for i in range(10)]
        assert first.result() == [2.0]
    assert SEEN == [1, 10]


def test_an_error_goes_to_the_caller_whose_rows_it_is_about(serve: Serve) -> None:
    _, client = serve(pair(), signature=X, batch_size=6, batch_wait_s=20.0)
    answers = at_once(client, [[1.0, 2.0], [-3.0, 4.0], [5.0, 6.0]])
    assert answers[0] == [2.0, 4.0]
    assert answers[2] == [10.0, 12.0]
    assert isinstance(answers[1], PredictError)
    assert "negative input -3" in str(answers[1])


def test_batches_of_other_columns_are_not_joined(serve: Serve) -> None:
    _, client = serve(pair(), batch_size=2, batch_wait_s=0.3)
    batches = [pa.record_batch({"x": pa.array([value])}) for value in (1.0, 2)]  # a double and an integer
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(lambda b: next(client.predict([b], True, 30)).to_pylist(), batch) for batch in batches]
        assert [call.result() for call in calls] == [[2.0], [4.0]]
    assert SEEN == [1, 1]


def test_joined_callers_are_all_told_of_a_hang(serve: Serve) -> None:
    _, client = serve(models.HangModel(), signature=X, batch_size=2, batch_wait_s=20.0, timeout_s=0.3, max_retries=0)
    assert [type(answer) for answer in at_once(client, [[-1.0], [-2.0]])] == [PredictTimeoutError] * 2


def test_hundreds_of_calls_get_their_own_answers(serve: Serve) -> None:
    worker, client = serve(pair(), signature=X, batch_size=16, batch_wait_s=0.002)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda i: score(client, [float(i)] * (1 + i % 5)), range(400)))
    assert answers == [[2.0 * i] * (1 + i % 5) for i in range(400)]
    assert max(SEEN) <= 16
    assert worker.stats().rows == sum(SEEN)


def test_a_batch_of_many_short_calls_may_take_longer_than_one_may(serve: Serve) -> None:
    worker, client = serve(models.SlowModel(0.1), signature=X, batch_size=1, timeout_s=1.0)
    ended = threading.Event()
    worker._server._on_hang = ended.set  # type: ignore[union-attr]
    assert score(client, [float(i) for i in range(16)], timeout_s=60) == [float(i) for i in range(16)]
    assert not ended.is_set()
