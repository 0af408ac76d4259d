# SPDX-License-Identifier: Apache-2.0
"""Who calls is counted, and observers hear of each batch, on real workers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import PredictError
from sparkmodel.scoring.observed import Observed
from sparkmodel.spark.forward import source_of
from sparkmodel.wire.client import client_of
from tests.unit.rest.toys import ToyPool
from tests.unit.wire.test_handle import WHOLE
from tests.unit.wire.toys import wait_until


def double(frame: Any) -> Any:
    if (frame["x"] < 0).any():
        raise ValueError("negative")
    return frame["x"] * 2


@pytest.fixture
def pool() -> Iterator[ToyPool]:
    one = ToyPool("double", double, batch_size=8, batch_wait_s=0.5)
    yield one
    one.close()


def call(pool: ToyPool, source: str, *values: float) -> list[float]:
    caller = pool.handle().calling(source=source)
    batch = pa.record_batch({"x": pa.array(values, pa.float64())})
    (answer,) = client_of(caller).predict([batch], True, caller=caller)
    return answer.to_pylist()


def counted(pool: ToyPool) -> dict[str, float]:
    from sparkmodel.scoring.series import part_of

    series = pool.stats()["figures"][1]["series"]
    return {key: sum(part_of(numbers, "rows")[0]) for key, numbers in series.items()}


def test_batches_of_several_sources_are_joined_and_counted_each_by_its_own(pool: ToyPool) -> None:
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(call, pool, source, 1.0, 2.0) for source in ("rest", "sql", "batch", "")]
        assert [one.result(30) for one in calls] == [[2.0, 4.0]] * 4
    wait_until(lambda: sum(counted(pool).values()) >= 4, "a batch is counted once its caller has its answer")
    assert counted(pool) == {"rest ok": 1, "sql ok": 1, "batch ok": 1, "other ok": 1}
    assert pool.workers[0][0].stats().batches < 4, "joined"


def test_a_word_that_is_not_known_makes_no_series_of_its_own(pool: ToyPool) -> None:
    for number in range(5):
        call(pool, f"made up {number}", 1.0)
    wait_until(lambda: sum(counted(pool).values()) >= 5, "all are counted")
    assert counted(pool) == {"other ok": 5}


def test_observers_hear_of_what_was_scored_and_of_what_failed(pool: ToyPool, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Observed] = []

    def broken(observed: Observed) -> None:
        raise RuntimeError("full")

    pool.workers[0][0]._observers += [broken, heard.append]
    with caplog.at_level(logging.ERROR, "sparkmodel"):
        assert call(pool, "python", 3.0) == [6.0]
        with pytest.raises(PredictError):
            call(pool, "stream", -1.0)
        wait_until(lambda: len(heard) >= 2, "both are told of")
    scored, failed = heard
    assert (scored.model, scored.version, scored.source, scored.condition) == ("double", 1, "python", "")
    assert (scored.batch.to_pylist(), scored.result.column(0).to_pylist()) == ([{"x": 3.0}], [6.0])  # type: ignore[union-attr]
    assert scored.queue_s >= 0.4, "it waited for others to join it"
    assert scored.predict_s < scored.queue_s
    assert (failed.source, failed.condition, failed.result) == ("stream", "PREDICT_FAILED", None)
    assert caplog.text.count("an observer of 'double' failed") == 1


@pytest.mark.parametrize(
    ("query", "made", "source"),
    [
        ("stream:1:2", "", "stream"),
        ("stream:1:2", "sql", "stream"),
        ("query:a:1", "", "batch"),
        ("stage:a:1", "sql", "sql"),
        ("", "", "batch"),
    ],
)
def test_a_task_says_who_calls(query: str, made: str, source: str) -> None:
    assert source_of(query, WHOLE.calling(source=made)) == source


def test_who_reads_a_handle_without_a_source_need_not_know_of_it() -> None:
    assert '"source"' not in WHOLE.calling(source="").to_text()
