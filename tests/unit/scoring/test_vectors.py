# SPDX-License-Identifier: Apache-2.0
"""Spark ML's vectors as arrays of doubles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkmodel.binding import bind
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import Column, is_ml_vector
from sparkmodel.scoring.inputs import build_input
from sparkmodel.scoring.vectors import with_dense_vectors

TYPE = pa.struct(
    [
        pa.field("type", pa.int8(), nullable=False),
        pa.field("size", pa.int32()),
        pa.field("indices", pa.list_(pa.field("element", pa.int32(), nullable=False))),
        pa.field("values", pa.list_(pa.field("element", pa.float64(), nullable=False))),
    ]
)


def dense(*values: float) -> dict[str, Any]:
    return {"type": 1, "size": None, "indices": None, "values": list(values)}


def sparse(size: int, entries: dict[int, float]) -> dict[str, Any]:
    return {"type": 0, "size": size, "indices": list(entries), "values": list(entries.values())}


def converted(rows: list[Any]) -> list[Any]:
    batch = pa.record_batch({"v": pa.array(rows, TYPE), "n": pa.array(range(len(rows)))})
    result = with_dense_vectors("Cannot score", batch)
    assert result.column(1).equals(batch.column(1))
    return list(result.column(0).to_pylist())


def test_dense_sparse_and_null_vectors() -> None:
    rows = [dense(1.0, 2.0, 3.0), None, sparse(3, {1: 5.0}), sparse(3, {}), dense(), sparse(4, {0: 1.0, 3: -1.0})]
    assert converted(rows) == [[1, 2, 3], None, [0, 5, 0], [0, 0, 0], [], [1, 0, 0, -1]]
    assert converted([dense(0.5), None]) == [[0.5], None]
    assert converted([]) == []


def test_a_slice_of_a_batch_is_its_own_rows() -> None:
    rows = [dense(1.0), sparse(2, {1: 2.0}), dense(3.0, 4.0), sparse(1, {0: 5.0})]
    batch = pa.record_batch({"v": pa.array(rows, TYPE)}).slice(1, 2)
    assert with_dense_vectors("Cannot score", batch).column(0).to_pylist() == [[0, 2], [3, 4]]


@settings(deadline=None)
@given(st.data())
def test_any_mix_equals_what_numpy_makes_of_it(data: st.DataObject) -> None:
    numbers = st.floats(allow_nan=False)
    vectors = st.one_of(
        st.none(),
        st.lists(numbers, max_size=5).map(lambda values: dense(*values)),
        st.integers(0, 6).flatmap(
            lambda size: st.dictionaries(st.integers(0, max(0, size - 1)), numbers, max_size=size).map(
                lambda entries: sparse(size, dict(sorted(entries.items())))
            )
        ),
    )
    rows = data.draw(st.lists(vectors, max_size=8))

    def plain(row: dict[str, Any] | None) -> Any:
        if row is None or row["type"] == 1:
            return row and row["values"]
        values = np.zeros(row["size"])
        values[row["indices"]] = row["values"]
        return values.tolist()

    assert converted(rows) == [plain(row) for row in rows]


def test_an_index_outside_of_the_vector_is_an_error() -> None:
    with pytest.raises(SchemaMismatchError, match="sparse vector in column 'v' has an index outside"):
        converted([sparse(2, {2: 1.0})])


def test_a_struct_that_only_looks_alike_is_no_vector() -> None:
    assert is_ml_vector(TYPE)
    assert not is_ml_vector(pa.struct([("type", pa.int8()), ("size", pa.int32())]))
    assert not is_ml_vector(pa.struct([(f.name, pa.int32() if f.name == "type" else f.type) for f in TYPE]))
    assert not is_ml_vector(pa.list_(pa.float64()))


def test_a_vector_is_taken_wherever_an_array_of_doubles_is() -> None:
    batch = pa.record_batch({"0": pa.array([dense(1.0, 2.0), sparse(2, {1: 4.0})], TYPE)})
    tensor = (Column(name=None, type=pa.float32(), shape=(-1, 2)),)
    columns = (Column(name="a", type=pa.float64()), Column(name="b", type=pa.float64()))
    for inputs, expected in ((None, [[1, 2], [0, 4]]), (tensor, [[1, 2], [0, 4]]), (columns, [[1, 2], [0, 4]])):
        data = build_input("Cannot score", batch, bind("Cannot score", batch.schema, False, inputs))
        assert np.asarray(data).tolist() == expected
