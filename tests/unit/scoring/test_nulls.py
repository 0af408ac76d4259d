# SPDX-License-Identifier: Apache-2.0
"""RETURNS NULL ON NULL INPUT."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import InvalidOptionError
from sparkmodel.options import PoolOptions
from sparkmodel.schema import Column, Signature
from sparkmodel.scoring.nulls import scatter
from tests.unit.pool.toys import Serve
from tests.unit.wire.toys import HandleClient

AB = Signature(inputs=(Column(name="a", type=pa.float64()), Column(name="b", type=pa.float64())))


def total(frame: pd.DataFrame) -> pd.Series:
    assert not frame.isna().any().any()
    return frame["a"] + frame["b"]


def score(client: HandleClient, batch: pa.RecordBatch, **call: Any) -> list[Any]:
    (answer,) = client.predict([batch], True, 60, client.handle.calling(**call))
    return list(answer.to_pylist())


BATCH = pa.record_batch({"a": [1.0, None, 3.0, 4.0], "b": [1.0, 2.0, None, 4.0], "c": pa.array([None] * 4, pa.int32())})


def test_rows_with_a_null_are_not_scored_and_give_null(serve: Serve) -> None:
    worker, client = serve(total, signature=AB, null_input="null")
    assert score(client, BATCH) == [2.0, None, None, 8.0]
    assert score(client, BATCH.slice(1, 2)) == [None, None]
    assert worker.stats().calls == 1  # none of a batch's rows is left: the model is not called
    assert score(client, BATCH.slice(0, 1)) == [2.0]


def test_the_default_calls_the_model(serve: Serve) -> None:
    _, client = serve(lambda frame: frame["a"] * 2.0, signature=AB)
    first, second, *_ = score(client, BATCH)
    assert first == 2.0
    assert math.isnan(second)


def test_rows_that_were_not_scored_have_no_error(serve: Serve) -> None:
    _, client = serve(total, signature=AB, null_input="null", on_error="struct", version=3)
    answers = score(client, BATCH)
    assert answers[1] == {"prediction": None, "error": None, "version": 3}
    assert answers[3] == {"prediction": 8.0, "error": None, "version": 3}


def test_an_array_that_is_null_and_one_with_a_null_inside(serve: Serve) -> None:
    _, client = serve(lambda array: array.sum(axis=1), null_input="null")
    batch = pa.record_batch({"0": [[1.0, 2.0], None, [3.0, None]]})
    (answer,) = client.predict([batch], False, 60)
    first, second, third = answer.to_pylist()
    assert (first, second) == (3.0, None)
    assert math.isnan(third)


def test_values_of_any_type_find_their_rows() -> None:
    mask = pa.array([False, True, True, False])
    for values in (["x", None], [[1], []], [{"a": 1}, {"a": None}]):
        array = pa.array(values)
        assert scatter(array, mask).to_pylist() == [None, *values, None]


def test_another_word_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="'null_input': 'skip' is not one of 'call', 'null'"):
        PoolOptions.of({"null_input": "skip"})
