# SPDX-License-Identifier: Apache-2.0
"""Latency and last error: kept by the workers, put together by the master."""

from __future__ import annotations

from typing import Any

import pytest

from sparkmodel.errors import PredictError
from sparkmodel.scoring.tally import Tally, summarize
from tests.models import ErrorModel
from tests.unit.pool.toys import Serve, score


def test_the_last_512_batches_are_kept() -> None:
    tally = Tally(pid=1)
    for number in range(600):
        tally.add_batch(10, float(number))
    stats = tally.read()
    assert (stats.batches, stats.rows, stats.predict_s) == (600, 6000, sum(range(600)))
    assert stats.seconds == tuple(map(float, range(88, 600)))


def test_quantiles_are_those_of_all_workers() -> None:
    workers: list[dict[str, Any]] = [{"seconds": tuple(range(1, 51))}, {"seconds": tuple(range(51, 101))}, {}]
    latency = summarize(workers)["latency"]
    assert latency == {"batches": 100, "p50_s": 50, "p95_s": 95, "p99_s": 99}
    assert workers == [{}, {}, {}]
    assert summarize([{"seconds": (7.0,)}])["latency"] == {"batches": 1, "p50_s": 7.0, "p95_s": 7.0, "p99_s": 7.0}
    assert summarize([])["latency"] == {"batches": 0, "p50_s": None, "p95_s": None, "p99_s": None}


def test_the_newest_error_is_told_with_the_end_of_its_details() -> None:
    tally = Tally()
    tally.note(PredictError("Cannot score", "first"))
    tally.note(PredictError("Cannot score", "second", details="x" * 20_000 + "the end"))
    last = tally.read().last_error
    assert last is not None
    assert last["message"] == "[PREDICT_FAILED] Cannot score: second."
    assert last["details"].endswith("the end")
    assert len(last["details"]) == 10_000
    older = {"last_error": {**last, "time": last["time"] - 1, "message": "older"}}
    assert summarize([older, {"last_error": last}, {"last_error": None}])["last_error"] == last
    assert summarize([{}])["last_error"] is None


@pytest.mark.parametrize("on_error", ["fail", "null"])
def test_a_worker_notes_what_its_model_raised(serve: Serve, on_error: str) -> None:
    worker, client = serve(ErrorModel(), on_error=on_error)
    assert score(client, [1.0]) == [1.0]
    assert worker.stats().last_error is None
    if on_error == "fail":
        with pytest.raises(PredictError):
            score(client, [-1.0])
    else:
        assert score(client, [-1.0]) == [None]
    last = worker.stats().last_error
    assert last is not None
    assert "negative input -1" in last["message"]
    assert "raise ValueError(f" in last["details"]
    assert len(worker.stats().seconds) == (1 if on_error == "fail" else 2)
