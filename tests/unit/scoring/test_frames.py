# SPDX-License-Identifier: Apache-2.0
"""Local data of `Model.predict`: in as what it is, out as what came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import Column
from sparkmodel.scoring import frames

WHAT = "Cannot score with 'wine'"
BIG = 9223372036854775707  # no float64 is equal to it


def batches(table: pa.Table) -> pa.Table:
    return pa.Table.from_batches(list(frames.to_batches(table)), table.schema if not table.num_rows else None)


def test_a_data_frame_is_taken_by_name_without_its_index() -> None:
    frame = pd.DataFrame({"b": [1, 2], "a": ["x", None]}, index=pd.Index([7, 9], name="key"))
    table, by_name = frames.to_table(WHAT, frame)
    assert by_name
    assert table.to_pydict() == {"b": [1, 2], "a": ["x", None]}
    assert not table.schema.metadata


def test_a_data_frame_without_column_names_is_positional() -> None:
    table, by_name = frames.to_table(WHAT, pd.DataFrame(np.array([[1.0, 2.0], [3.0, 4.0]])))
    assert not by_name
    assert table.to_pydict() == {"0": [1.0, 3.0], "1": [2.0, 4.0]}


def test_a_data_frame_with_numbers_for_names_has_names() -> None:
    table, by_name = frames.to_table(WHAT, pd.DataFrame({5: [1], "b": ["x"]}))
    assert by_name
    assert table.column_names == ["5", "b"]


def test_integers_beside_a_null_stay_exact_on_the_way_in() -> None:
    frame = pd.DataFrame({"a": pd.array([BIG, None], dtype="Int64")})
    assert frames.to_table(WHAT, frame)[0].column("a").to_pylist() == [BIG, None]


def test_categories_are_decoded_since_the_wire_carries_none() -> None:
    frame = pd.DataFrame({"a": pd.Categorical(["x", None, "y", "x"]), "n": [1, 2, 3, 4]})
    table = batches(frames.to_table(WHAT, frame)[0])
    assert not pa.types.is_dictionary(table.schema.field("a").type)
    assert table.to_pydict() == {"a": ["x", None, "y", "x"], "n": [1, 2, 3, 4]}


def test_an_arrow_table_and_batch_are_taken_as_they_are() -> None:
    table = pa.table({"a": [1, 2]})
    assert frames.to_table(WHAT, table) == (table, True)
    assert frames.to_table(WHAT, table.to_batches()[0]) == (table, True)


def test_rows_are_taken_by_name() -> None:
    table, by_name = frames.to_table(WHAT, [{"a": 1, "b": [1.0]}, {"a": None, "b": None}])
    assert by_name
    assert table.to_pydict() == {"a": [1, None], "b": [[1.0], None]}


def test_no_rows_give_no_batches() -> None:
    for nothing in ([], pd.DataFrame({"a": []}), pa.table({"a": pa.array([], pa.int64())})):
        table, _ = frames.to_table(WHAT, nothing)
        assert sum(batch.num_rows for batch in frames.to_batches(table)) == 0


def test_a_table_of_no_rows_with_categories_is_no_trouble() -> None:
    table = pa.table({"a": pa.array([], pa.string()).dictionary_encode()})
    assert sum(batch.num_rows for batch in frames.to_batches(table)) == 0


def test_a_key_that_the_first_row_lacks_is_not_lost() -> None:
    table, _ = frames.to_table(WHAT, [{"a": 1}, {"a": 2, "b": 3}])
    assert table.to_pydict() == {"a": [1, 2], "b": [None, 3]}


@pytest.mark.parametrize("data", [5, None, "a", b"a", [1, 2], [{"a": 1}, 2], [(1,), {"a": 1}], {1, 2}, ({"a": 1},)])
def test_other_kinds_are_refused_by_name(data: Any) -> None:
    with pytest.raises(SchemaMismatchError, match=f"the input is a {type(data).__name__}") as caught:
        frames.to_table(WHAT, data)
    assert caught.value.what == WHAT
    assert "pandas DataFrame" in caught.value.hint


def test_one_row_is_told_from_columns() -> None:
    with pytest.raises(SchemaMismatchError) as caught:
        frames.to_table(WHAT, {"a": 1, "b": 2.0})
    assert caught.value.hint == "put one row into a list: [row]"


LONGS = (Column(name="n", type=pa.int64()), Column(name="x", type=pa.float64()))


@pytest.mark.parametrize(
    ("data", "by_name", "columns"),
    [
        ({"n": [1, 2], "x": np.array([0.5, 1.5])}, True, {"n": [1, 2], "x": [0.5, 1.5]}),
        ({"n": pd.Series([1, None]), "v": [[1.0], [2.0]]}, True, {"n": [1, None], "v": [[1.0], [2.0]]}),
        ([(1, "x"), (2, None)], False, {"0": [1, 2], "1": ["x", None]}),
        ([[1, 0.5]], False, {"0": [1], "1": [0.5]}),
        (pd.Series(["x", None], name="text"), False, {"0": ["x", None]}),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), False, {"0": [1.0, 3.0], "1": [2.0, 4.0]}),
        (np.array([1, 2]), False, {"0": [1, 2]}),
        (np.zeros((1, 2, 1)), False, {"0": [[[0.0], [0.0]]]}),
        (scipy.sparse.csr_matrix([[0.0, 2.0]]), False, {"0": [0.0], "1": [2.0]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_columns_and_rows_of_other_kinds(data: Any, by_name: bool, columns: dict[str, Any]) -> None:
    table, named = frames.to_table(WHAT, data, LONGS)
    assert (named, table.to_pydict()) == (by_name, columns)


def test_an_array_is_one_tensor_for_each_row_where_the_model_takes_tensors() -> None:
    array = np.arange(6.0).reshape(3, 2)
    table, by_name = frames.to_table(WHAT, array, (Column(name=None, type=pa.float64(), shape=(-1, 2)),))
    assert not by_name
    assert table.to_pydict() == {"0": array.tolist()}
    assert table.schema.field("0").type == pa.list_(pa.float64())


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"x": [0.5, 1.5], "n": [1.0, np.nan]}),
        [{"n": 1.0, "x": 0.5}, {"n": float("nan"), "x": 1.5}],
        pd.DataFrame({"n": np.array([1.0, np.nan], np.float32), "x": [0.5, 1.5]}),
    ],
)
def test_integers_that_a_gap_made_floats_are_integers_where_the_model_takes_them(data: Any) -> None:
    table, _ = frames.to_table(WHAT, data, LONGS)
    assert table.column("n").to_pylist() == [1, None]
    assert table.schema.field("n").type == pa.int64()
    assert table.column("x").to_pylist() == [0.5, 1.5]


def test_integers_that_a_gap_made_floats_go_by_position_too() -> None:
    table, _ = frames.to_table(WHAT, pd.DataFrame(np.array([[1.0, 2.0], [np.nan, 3.0]])), LONGS)
    assert table.to_pydict() == {"0": [1, None], "1": [2.0, 3.0]}


@pytest.mark.parametrize("value", [1.5, 2.0**63, float("inf")])
def test_floats_that_are_no_integers_are_refused(value: float) -> None:
    with pytest.raises(SchemaMismatchError, match="column 'n' has floats, the model takes integers"):
        frames.to_table(WHAT, pd.DataFrame({"n": [1.0, value]}), LONGS)


def test_arrow_says_what_it_means() -> None:
    table = pa.table({"n": [1.0]})
    assert frames.to_table(WHAT, table, LONGS) == (table, True)


def test_sparse_columns_are_filled_in() -> None:
    frame = pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 0.0, 1.5]), "b": pd.arrays.SparseArray([0, 2, 0])})
    frame["c"] = pd.arrays.SparseArray([np.nan, 1.0, np.nan])
    before = frame.dtypes.tolist()
    table, by_name = frames.to_table(WHAT, frame)
    assert by_name
    assert table.to_pydict() == {"a": [0.0, 0.0, 1.5], "b": [0, 2, 0], "c": [None, 1.0, None]}
    assert frame.dtypes.tolist() == before


def test_other_kinds_come_back_as_what_they_are() -> None:
    result = pa.chunked_array([[1, None]])
    assert frames.like_input(result, {"a": [1, 2]}) == frames.like_input(result, [(1,), (2,)]) == [1, None]
    series = frames.like_input(result, pd.Series([1, 2], index=["p", "q"]))
    assert list(series.index) == ["p", "q"]
    array = frames.like_input(pa.chunked_array([[1, 2]]), np.zeros((2, 1)))
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize(
    "data", [pd.DataFrame({"a": [1, "x"]}), [{"a": 1}, {"a": "x"}], [{"a": object()}], pd.DataFrame({"a": [object()]})]
)
def test_a_column_of_no_one_type_is_refused(data: Any) -> None:
    with pytest.raises(SchemaMismatchError, match="cannot be made Arrow columns"):
        frames.to_table(WHAT, data)


@pytest.mark.parametrize(
    "data",
    [
        [{"a": 2**70}],
        pd.DataFrame({"a": [2**70]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
    ],
)
def test_what_arrow_refuses_with_another_error_is_refused_all_the_same(data: Any) -> None:
    with pytest.raises(SchemaMismatchError):
        frames.to_table(WHAT, data)


def test_batches_are_of_bounded_size_and_lose_no_row() -> None:
    table = pa.table({"a": range(25_001)})
    sizes = [batch.num_rows for batch in frames.to_batches(table)]
    assert max(sizes) <= frames.BATCH_ROWS
    assert batches(table).equals(table)


def test_a_series_comes_back_with_the_frames_index() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=["x", "y", "z"])
    result = frames.like_input(pa.chunked_array([[1.5, None], [2.5]]), frame)
    assert isinstance(result, pd.Series)
    assert result.name == "prediction"
    assert list(result.index) == ["x", "y", "z"]
    assert result["x"] == 1.5
    assert np.isnan(result["y"])


def test_a_struct_comes_back_as_a_frame_with_the_frames_index() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=[5, 6])
    result = frames.like_input(pa.chunked_array([[{"p": 0.5, "label": "x"}], [{"p": 0.25, "label": "y"}]]), frame)
    assert list(result.columns) == ["p", "label"]
    assert list(result.index) == [5, 6]
    assert result.loc[6, "label"] == "y"


def test_nothing_comes_back_for_nothing() -> None:
    empty = pa.chunked_array([], pa.float64())
    assert len(frames.like_input(empty, pd.DataFrame({"a": []}))) == 0
    assert frames.like_input(empty, []) == []


def test_arrow_and_rows_come_back_in_their_own_kind() -> None:
    result = pa.chunked_array([[BIG, None]])
    assert frames.like_input(result, pa.table({"a": [1, 2]})) is result
    assert frames.like_input(result, [{"a": 1}, {"a": 2}]) == [BIG, None]


def test_integers_beside_a_null_stay_exact_on_the_way_out() -> None:
    result = frames.like_input(pa.chunked_array([[BIG, None]]), pd.DataFrame({"a": [1, 2]}))
    assert int(result[0]) == BIG
    assert pd.isna(result[1])
