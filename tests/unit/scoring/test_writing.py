# SPDX-License-Identifier: Apache-2.0
"""Models that write into their input, and frames of signatures without names, through a worker."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sparkmodel.schema import Column, Signature
from sparkmodel.scoring.stream import is_read_only
from tests.unit.pool.toys import Serve

TENSOR = Signature(inputs=(Column(name=None, type=pa.float64(), shape=(-1, 2)),))


def doubled(data: Any) -> Any:
    data *= 2
    if (data < 0).any():
        raise ValueError("a negative number")
    return data.sum(axis=1)


def in_an_array(frame: Any) -> Any:
    for values in frame["v"]:
        values += 1
    return [float(values.sum()) for values in frame["v"]]


def in_a_column(frame: Any) -> Any:
    frame["a"] += 1
    frame.loc[frame["a"] > 2, "a"] = 0
    return frame["a"] + frame["b"]


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


ROWS = [[1.0, 2.0], [-1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@pytest.mark.parametrize("signature", [TENSOR, None], ids=["tensor", "unsigned"])
def test_an_array_may_be_written_into(serve: Serve, signature: Signature | None) -> None:
    _, client = serve(doubled, signature=signature)
    for _ in range(2):
        (answer,) = client.predict([batch(v=ROWS[2:])], False, 30)
        assert answer.to_pylist() == [14.0, 22.0]


def test_a_model_that_works_in_place_does_not_change_what_is_scored_again(serve: Serve) -> None:
    worker, client = serve(doubled, signature=TENSOR, on_error="null")
    for _ in range(2):
        (answer,) = client.predict([batch(v=ROWS)], False, 30)
        assert answer.to_pylist() == [6.0, None, 14.0, 22.0]
    assert worker.stats().rows_failed == 2


@pytest.mark.parametrize(
    ("model", "columns", "wanted"),
    [
        (in_an_array, {"v": [[1.0, 2.0], [3.0]], "n": [1, 2]}, [5.0, 4.0]),
        (in_a_column, {"a": [1, 5], "b": [1, 1]}, [3.0, 1.0]),
        (in_a_column, {"a": [1.0, 5.0], "b": [1.0, 1.0]}, [3.0, 1.0]),
        (in_a_column, {"a": [1, 5], "b": [1.0, 1.0]}, [3.0, 1.0]),
    ],
)
def test_a_frame_and_the_arrays_in_it_may_be_written_into(serve: Serve, model: Any, columns: Any, wanted: Any) -> None:
    _, client = serve(model)
    for _ in range(2):
        (answer,) = client.predict([batch(**columns)], True, 30)
        assert answer.to_pylist() == wanted


def test_a_model_that_does_not_write_is_called_once_and_gets_no_copy(serve: Serve) -> None:
    def model(data: Any) -> Any:
        return np.full(len(data), data.flags.writeable, float)

    worker, client = serve(model, signature=TENSOR)
    (answer,) = client.predict([batch(v=ROWS)], False, 30)
    copied = float("torch" in sys.modules)
    assert (answer.to_pylist(), worker.stats().calls) == ([copied] * 4, 1)


def test_errors_that_speak_of_memory_are_told_from_others() -> None:
    assert is_read_only(ValueError("output array is read-only"))
    assert is_read_only(ValueError("buffer source array is readonly"))
    wrapped = RuntimeError("it failed")
    wrapped.__cause__ = ValueError("assignment destination is read-only")
    assert is_read_only(wrapped)
    assert not is_read_only(OSError(30, "Read-only file system"))
    assert not is_read_only(ValueError("a negative number"))


@pytest.mark.parametrize(
    ("by_name", "columns", "wanted"),
    [
        (False, {"0": [1.0, 2.0], "1": [3.0, 4.0]}, "[0, 1]"),
        (False, {"0": [[1.0, 3.0], [2.0, 4.0]]}, "[0, 1]"),
        (True, {"p": [1.0, 2.0], "q": [3.0, 4.0]}, "['p', 'q']"),
    ],
)
def test_columns_of_a_signature_without_names_are_labelled_as_mlflow_does(
    serve: Serve, by_name: bool, columns: Any, wanted: str
) -> None:
    unnamed = Signature(inputs=(Column(name=None, type=pa.float64()), Column(name=None, type=pa.float64())))
    _, client = serve(lambda frame: [str(list(frame.columns))] * len(frame), signature=unnamed, result_type=pa.string())
    (answer,) = client.predict([batch(**columns)], by_name, 30)
    assert answer.to_pylist() == [wanted] * 2
