# SPDX-License-Identifier: Apache-2.0
"""Rows at fault: found by halving, made NULL or a struct, and too many of them an error."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkmodel.errors import (
    BisectBudgetError,
    ErrorThresholdError,
    InvalidOptionError,
    PredictError,
    SchemaMismatchError,
    SparkModelError,
    WrongResultTypeError,
    WrongRowCountError,
)
from sparkmodel.schema import Column, Signature
from sparkmodel.scoring.faults import ErrorWindow, isolate
from sparkmodel.spec import answer_type
from tests import models
from tests.unit.pool.toys import Serve
from tests.unit.wire.toys import HandleClient


def score(client: HandleClient, values: list[Any], **call: Any) -> list[Any]:
    """The answers for one batch."""
    caller = client.handle.calling(**call)
    (answer,) = client.predict([pa.record_batch({"x": pa.array(values)})], True, 60, caller)
    return list(answer.to_pylist())


@pytest.mark.fault("F9")
def test_one_poison_row_in_ten_thousand_costs_two_calls_for_each_halving(serve: Serve) -> None:
    worker, client = serve(models.ErrorModel(), on_error="null")
    values = [float(i) for i in range(10_000)]
    values[6_789] = -1.0
    answer = score(client, values)
    assert answer[6_789] is None
    assert [value for i, value in enumerate(answer) if i != 6_789] == [v for i, v in enumerate(values) if i != 6_789]
    stats = worker.stats()
    assert stats.rows_failed == 1
    assert stats.errors == 0
    assert stats.calls - 1 <= 2 * math.ceil(math.log2(10_000))


def test_a_struct_carries_prediction_error_and_version(serve: Serve) -> None:
    _, client = serve(models.ErrorModel(), version=7, on_error="struct")
    good, bad = score(client, [1.0, -2.0])
    assert good == {"prediction": 1.0, "error": None, "version": 7}
    assert bad["prediction"] is None
    assert bad["version"] == 7
    assert "[PREDICT_FAILED]" in bad["error"]
    assert "negative input -2" in bad["error"]


def test_without_it_the_models_own_error_fails_the_call(serve: Serve) -> None:
    _, client = serve(models.ErrorModel())
    with pytest.raises(PredictError, match="negative input -1"):
        score(client, [1.0, -1.0])


def test_a_call_may_ask_for_another_way_than_was_registered(serve: Serve) -> None:
    _, client = serve(models.ErrorModel())
    assert score(client, [1.0, -1.0], on_error="null") == [1.0, None]
    assert score(client, [-1.0, 2.0], on_error="struct")[1]["prediction"] == 2.0
    with pytest.raises(PredictError):
        score(client, [-1.0])
    with pytest.raises(InvalidOptionError, match="on_error='ignore' is none of"):
        score(client, [-1.0], on_error="ignore")


class Short:
    """One row too few, in batches with a negative value."""

    def predict(self, data: Any) -> Any:
        values = models.first_column(data)
        return values[:-1] if (values < 0).any() else values


class Texts:
    """Text for a negative value."""

    def predict(self, data: Any) -> Any:
        return ["bad" if value < 0 else value for value in models.first_column(data)]


@pytest.mark.parametrize(
    ("source", "condition"), [(Short(), WrongRowCountError), (Texts(), WrongResultTypeError)], ids=["short", "texts"]
)
def test_results_that_do_not_fit_are_rows_at_fault_too(
    serve: Serve, source: Any, condition: type[SparkModelError]
) -> None:
    _, client = serve(source, on_error="struct")
    answers = score(client, [1.0, -1.0, 2.0])
    assert [answer["prediction"] for answer in answers] == [1.0, None, 2.0]
    assert condition.condition in answers[1]["error"]


def test_input_that_does_not_fit_is_a_row_at_fault_but_a_column_that_does_not_is_not(serve: Serve) -> None:
    tensor = Signature(inputs=(Column(name=None, type=pa.float64(), shape=(-1, 2)),))
    _, client = serve(models.DoubleModel(), signature=tensor, on_error="null")
    assert score(client, [[1.0, 0.0], [2.0], [3.0, 0.0]]) == [2.0, None, 6.0]
    with pytest.raises(SchemaMismatchError):
        score(client, ["text"])


def test_more_rows_at_fault_than_the_threshold_are_an_error(serve: Serve) -> None:
    _, client = serve(models.ErrorModel(), on_error="null", error_threshold=0.01)
    mostly = [float(i) for i in range(1000)]
    mostly[3] = -3.0
    assert score(client, mostly)[3] is None
    with pytest.raises(ErrorThresholdError, match=r"error_threshold=0.01 allows 1.00%; the last: .*negative input"):
        score(client, [-1.0] * 40 + mostly)


def test_a_threshold_of_zero_lets_nothing_pass(serve: Serve) -> None:
    _, client = serve(models.ErrorModel(), on_error="null", error_threshold=0)
    with pytest.raises(ErrorThresholdError, match="1 of the last 2 rows"):
        score(client, [1.0, -1.0])


def test_the_search_stops_when_there_are_too_many() -> None:
    calls = []

    def never(batch: pa.RecordBatch) -> pa.Array:
        calls.append(batch.num_rows)
        raise PredictError("Cannot score", "no")

    window = ErrorWindow("Cannot score", 0.01)
    with pytest.raises(ErrorThresholdError):
        isolate(never, pa.record_batch({"x": list(range(10_000))}), pa.float64(), window.check)
    assert len(calls) < 500


def test_old_batches_are_forgotten() -> None:
    window = ErrorWindow("Cannot score", 0.1)
    window.add(1_000, 1_000)
    error = PredictError("Cannot score", "no")
    with pytest.raises(ErrorThresholdError):
        window.check(1_000, 1, error)
    for _ in range(10):
        window.add(1_000, 0)
    window.check(1_000, 1, error)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
@pytest.mark.fault("F9")
def test_exactly_the_rows_at_fault_are_found(case: tuple[int, set[int]]) -> None:
    rows, bad = case

    def predict(batch: pa.RecordBatch) -> pa.Array:
        values = batch.column(0).to_numpy()
        if set(values) & bad:
            raise PredictError("Cannot score", f"{sorted(set(values) & bad)}")
        return pa.array(values * 2.0)

    result, faults = isolate(predict, pa.record_batch({"x": np.arange(rows)}), pa.float64())
    assert result.to_pylist() == [None if i in bad else i * 2.0 for i in range(rows)]
    assert [fault.row for fault in faults] == sorted(bad)


def test_the_answers_type_says_what_is_in_the_struct() -> None:
    assert answer_type(pa.int64(), "null") == answer_type(pa.int64(), "fail") == pa.int64()
    assert [field.name for field in answer_type(pa.int64(), "struct")] == ["prediction", "error", "version"]


def test_a_tenth_of_the_rows_at_fault_is_found_within_the_budget(serve: Serve) -> None:
    worker, client = serve(models.ErrorModel(), on_error="null")
    values = [float(i) for i in range(10_000)]
    bad = random.Random(13).sample(range(10_000), 1000)
    for i in bad:
        values[i] = -1.0
    answer = score(client, values)
    assert [i for i, value in enumerate(answer) if value is None] == sorted(bad)
    assert worker.stats().calls <= 10_000


def test_a_search_that_takes_too_many_calls_says_what_it_found_and_what_it_did_not_look_at(serve: Serve) -> None:
    _, client = serve(models.ErrorModel(), on_error="null", bisect_calls=20)
    values = [-1.0] * 4 + [1.0] * 12
    assert score(client, values)[4:] == [1.0] * 12
    with pytest.raises(BisectBudgetError) as caught:
        score(client, [-1.0] * 64)
    assert "in a batch of 64 took 20 calls and" in caught.value.fact
    found, unseen = (int(number) for number in re.findall(r"(\d+) (?:rows were found|were not)", caught.value.fact))
    assert found + unseen == 64
    assert found > 5
    assert "negative input -1" in caught.value.fact
    assert score(client, [1.0]) == [1.0], "the next batch has its own"


def test_a_search_that_takes_too_long_ends(serve: Serve) -> None:
    _, client = serve(models.ErrorModel(), on_error="null", bisect_s=1e-9)
    with pytest.raises(BisectBudgetError, match="bisect_s=1e-09 allow no more: 0 rows were found at fault, 2 were not"):
        score(client, [-1.0, 1.0])


def test_the_budget_is_one_for_all_chunks_of_a_batch(serve: Serve) -> None:
    _, client = serve(models.ErrorModel(), on_error="null", batch_size=4, bisect_calls=20)
    assert score(client, [-1.0, 1.0, 1.0, 1.0] * 3)[:2] == [None, 1.0]
    with pytest.raises(BisectBudgetError, match="in a batch of 40 took"):
        score(client, [-1.0, 1.0, 1.0, 1.0] * 10)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_each_row_at_fault_costs_two_calls_for_each_halving_at_most(case: tuple[int, set[int]]) -> None:
    rows, bad = case
    calls = 0

    def predict(batch: pa.RecordBatch) -> pa.Array:
        nonlocal calls
        calls += 1
        values = batch.column(0).to_numpy()
        if set(values) & bad:
            raise PredictError("Cannot score", "no")
        return pa.array(values)

    isolate(predict, pa.record_batch({"x": np.arange(rows)}), pa.int64())
    assert calls - 1 <= len(bad) * 2 * math.ceil(math.log2(rows))
