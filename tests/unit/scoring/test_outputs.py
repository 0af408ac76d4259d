# SPDX-License-Identifier: Apache-2.0
"""From what a model returns to the declared type, without loss."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

from sparkmodel.errors import WrongResultTypeError, WrongRowCountError
from sparkmodel.scoring.outputs import result_schema, to_array

WHAT = "Cannot score with 'wine'"
B, I8, I32, I64, F32, F64, TEXT = pa.bool_(), pa.int8(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string()
VECTOR, MATRIX = pa.list_(F64), pa.list_(pa.list_(F64))
PAIR = pa.struct([("label", TEXT), ("p", F64)])
BIG = 9223372036854775707
NAN = float("nan")


def convert(result: Any, type_: pa.DataType, rows: int | None = None) -> list[Any]:
    """The result as Python values, after a check that a record batch of the declared schema can be made of it."""
    array = to_array(WHAT, result, len(result) if rows is None else rows, type_)
    batch = pa.RecordBatch.from_arrays([array], schema=result_schema(type_))
    batch.validate(full=True)
    values: list[Any] = batch.column(0).to_pylist()
    return values


KINDS = {
    "ndarray": np.array,
    "list": list,
    "tuple": tuple,
    "Series": pd.Series,
    "shuffled index": lambda values: pd.Series(values, index=range(len(values), 0, -1)),
    "object Series": lambda values: pd.Series(values, dtype=object),
    "object ndarray": lambda values: np.array(values, dtype=object),
    "DataFrame of one column": lambda values: pd.DataFrame({"p": values}),
    "dict of one array": lambda values: {"p": np.array(values)},
    "column vector": lambda values: np.array(values).reshape(-1, 1),
    "Array": pa.array,
    "ChunkedArray": lambda values: pa.chunked_array([values[:1], values[1:]]),
    "Table": lambda values: pa.table({"p": values}),
    "RecordBatch": lambda values: pa.record_batch({"p": values}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("values", "type_"),
    [([1.5, -2.0, 0.0], F64), ([1, -2, BIG], I64), (["a", "", "ä"], TEXT), ([True, False, True], B)],
    ids=["double", "bigint", "string", "boolean"],
)
def test_each_kind_of_container_gives_the_same_values(kind: str, values: list[Any], type_: pa.DataType) -> None:
    assert convert(KINDS[kind](values), type_, 3) == values


@pytest.mark.parametrize(
    ("result", "values"),
    [
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([[1], [2]], np.float32), [[1], [2]]),
        ([[1.0, 2.0], [3.0]], [[1, 2], [3]]),
        ([np.array([1.0]), np.array([2.0, 3.0])], [[1], [2, 3]]),
        (pd.Series([[1.0], [2.0]]), [[1], [2]]),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}), [[1, 3], [2, 4]]),
        ({"a": np.array([1.0, 2.0]), "b": [3, 4]}, [[1, 3], [2, 4]]),
        (pa.array([[1], [2]]), [[1], [2]]),
        (np.asfortranarray(np.array([[1.0, 2.0], [3.0, 4.0]])), [[1, 2], [3, 4]]),
        (np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])[::2], [[1, 2], [5, 6]]),
    ],
)
def test_two_dimensions_become_an_array_for_each_row(result: Any, values: list[Any]) -> None:
    assert convert(result, VECTOR, 2) == values


def test_three_dimensions_become_arrays_of_arrays() -> None:
    cube = np.arange(12.0).reshape(2, 3, 2)
    assert convert(cube, MATRIX) == cube.tolist()
    assert convert(cube[:, :, ::-1].astype(np.float32), MATRIX) == cube[:, :, ::-1].tolist()


@pytest.mark.parametrize(
    ("result", "type_"),
    [(np.zeros((2, 2)), F64), (np.zeros((2, 2, 2)), F64), (np.zeros((2, 2, 2)), VECTOR), (np.zeros(2), VECTOR)],
)
def test_another_number_of_dimensions_is_refused(result: Any, type_: pa.DataType) -> None:
    with pytest.raises(WrongResultTypeError, match="ndarray of float64 with shape"):
        convert(result, type_)


def test_nan_of_a_float_column_is_a_number_and_none_is_null() -> None:
    for result in (np.array([1.0, NAN]), [1.0, NAN], pd.Series([1.0, NAN]), pa.array([1.0, NAN])):
        first, second = convert(result, F64)
        assert first == 1
        assert math.isnan(second)
    assert convert([1.0, None], F64) == [1, None]
    assert convert(pd.Series([1.0, None], dtype=object), F64) == [1, None]
    assert convert(np.array([1.0, None], dtype=object), F64) == [1, None]


def test_nan_within_an_array_is_a_number_whatever_holds_the_arrays() -> None:
    rows = [np.array([1.0, NAN]), np.array([NAN, 2.0])]
    for result in (np.array(rows), rows, pd.Series(rows)):
        values = convert(result, VECTOR)
        assert [[value is None for value in row] for row in values] == [[False, False], [False, False]]


def test_pandas_nullable_columns_keep_their_nulls_and_their_exact_values() -> None:
    assert convert(pd.Series([BIG, None], dtype="Int64"), I64) == [BIG, None]
    assert convert(pd.Series([True, None], dtype="boolean"), B) == [True, None]
    assert convert(pd.Series(["a", None], dtype="string"), TEXT) == ["a", None]
    assert convert(pd.Series(["a", None]), TEXT) == ["a", None]
    assert convert(pd.Series([BIG, None], dtype=object), I64) == [BIG, None]
    assert convert(pd.Series([1.5, None], dtype="Float64"), F64) == [1.5, None]


def test_categories_are_decoded() -> None:
    assert convert(pd.Series(["a", None, "a"], dtype="category"), TEXT) == ["a", None, "a"]
    assert convert(pa.array(["a", None]).dictionary_encode(), TEXT) == ["a", None]


def test_an_arrow_backed_series_of_several_chunks_is_one_array() -> None:
    parts = [pd.Series([number], dtype="int64[pyarrow]") for number in (1, 2)]
    assert convert(pd.concat(parts), I64) == [1, 2]


@pytest.mark.parametrize(
    "result",
    [
        pd.DataFrame({"label": ["a", "b"], "p": [0.5, 0.25]}),
        pd.DataFrame({"p": [0.5, 0.25], "label": ["a", "b"], "more": [0, 0]}),
        pd.DataFrame({0: ["a", "b"], 1: [0.5, 0.25]}),
        {"p": np.array([0.5, 0.25]), "label": ["a", "b"]},
        {"first": ["a", "b"], "second": np.array([0.5, 0.25], np.float32)},
        pa.table({"p": [0.5, 0.25], "label": ["a", "b"]}),
        pa.record_batch({"p": pa.array([0.5, 0.25], F32), "label": ["a", "b"]}),
        [{"label": "a", "p": 0.5}, {"p": 0.25, "label": "b"}],
        pd.Series([{"label": "a", "p": 0.5}, {"label": "b", "p": 0.25}]),
        pa.array([{"label": "a", "p": 0.5}, {"label": "b", "p": 0.25}]),
        np.array([["a", 0.5], ["b", 0.25]], dtype=object),
    ],
)
def test_a_struct_is_made_by_name_and_by_position_where_no_name_fits(result: Any) -> None:
    assert convert(result, PAIR, 2) == [{"label": "a", "p": 0.5}, {"label": "b", "p": 0.25}]


@pytest.mark.parametrize(
    "columns",
    [
        {"label": ["a"], "q": [0.5]},  # one name fits, so names count
        {"label": ["a"]},
        {"x": ["a"], "y": [0.5], "z": [1]},
    ],
)
@pytest.mark.parametrize("make", [pd.DataFrame, pa.table, dict])
def test_a_struct_of_wrong_columns_is_refused(columns: dict[str, list[Any]], make: Any) -> None:
    with pytest.raises(WrongResultTypeError, match=r"are not the fields \['label', 'p'\]"):
        convert(make(columns), PAIR, 1)


@pytest.mark.parametrize("result", [[{"label": "a", "q": 0.5}], pa.array([{"label": "a", "q": 0.5}]), [{"x": 1}]])
def test_a_struct_of_wrong_names_is_refused_for_rows_too(result: Any) -> None:
    with pytest.raises(WrongResultTypeError):
        convert(result, PAIR)


def test_fields_of_a_struct_are_cast_and_checked_each() -> None:
    assert convert(pd.DataFrame({"a": [1, 2]}), pa.struct([("a", I8)])) == [{"a": 1}, {"a": 2}]
    with pytest.raises(WrongResultTypeError):
        convert(pd.DataFrame({"a": [1, 300]}), pa.struct([("a", I8)]))


def test_several_columns_for_one_value_are_refused() -> None:
    with pytest.raises(WrongResultTypeError, match=r"2 columns \['a', 'b'\] for one value"):
        convert(pd.DataFrame({"a": [1.0], "b": [2.0]}), F64)


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csr_array, scipy.sparse.coo_matrix])
def test_sparse_matrices_are_filled_up(make: Any) -> None:
    assert convert(make([[1.0, 0.0], [0.0, 2.0]]), VECTOR, 2) == [[1, 0], [0, 2]]
    assert convert(make([[1.0], [0.0]]), F64, 2) == [1, 0]


@pytest.mark.parametrize(
    "result",
    [None, 1.0, True, np.float64(1), np.array(1.0), "a", b"a", iter([1.0]), {}, {"a": [1], "b": [1, 2]}, object()],
)
@pytest.mark.fault("F10")
def test_what_is_no_column_is_refused(result: Any) -> None:
    with pytest.raises(WrongResultTypeError, match=f"the model returned a {type(result).__name__}") as caught:
        convert(result, F64, 1)
    assert caught.value.what == WHAT


def test_a_dict_of_scalars_is_refused() -> None:
    with pytest.raises(WrongResultTypeError):
        convert({"a": 1.0}, F64, 1)


@pytest.mark.parametrize("rows", [0, 2, 4])
@pytest.mark.parametrize("kind", [kind for kind in KINDS])
@pytest.mark.fault("F10")
def test_another_number_of_rows_is_refused(kind: str, rows: int) -> None:
    with pytest.raises(WrongRowCountError, match=f"the model gave 3 rows for a batch of {rows}"):
        convert(KINDS[kind]([1.0, 2.0, 3.0]), F64, rows)


LOSSY = [
    (0.7, I64),
    (300, I8),
    (-129, I8),
    (2**31, I32),
    (2**63, I64),
    (-1, pa.uint8()),
    (2**53 + 1, F64),
    (2, B),
    ("text", F64),
    ("text", I64),
    ("text", B),
    (b"\xff", TEXT),
    (decimal.Decimal("1.25"), pa.decimal128(10, 1)),
    (decimal.Decimal("1.5"), I64),
    (1.5, pa.timestamp("us")),
    (datetime.date(2020, 1, 1), F64),
    ([1.0], F64),
    (1.0, VECTOR),
    ([0.5], pa.list_(I64)),
]


@pytest.mark.parametrize(("value", "type_"), LOSSY, ids=str)
@pytest.mark.parametrize(
    "make", [lambda value: pa.array([value]), lambda value: pd.Series([value])], ids=["Arrow", "pandas"]
)
def test_a_value_that_would_be_changed_is_refused(value: Any, type_: pa.DataType, make: Any) -> None:
    try:
        result = make(value)
    except (pa.ArrowException, OverflowError):
        result = [value]  # no Arrow array can hold it in the first place
    with pytest.raises(WrongResultTypeError, match="which does not fit"):
        convert(result, type_, 1)


@pytest.mark.parametrize(
    ("result", "type_"),
    [
        (np.array([0.7]), B),
        (np.array([[2]]), pa.list_(B)),
        ([0.7], I64),
        ([[0.7]], pa.list_(I64)),
        ([{"a": 0.7}], pa.struct([("a", I64)])),
        (np.array([0.7], object), I64),
        (np.array(["1.5"]), F64),
        (pd.Series(["1.5"]), F64),
        (["1.5"], F64),
        ([300], I8),
        ([2], B),
        (np.array([1e300]), I64),
        (np.array([1 + 2j]), F64),
    ],
)
@pytest.mark.fault("F10")
def test_a_value_that_would_be_changed_is_refused_in_every_container(result: Any, type_: pa.DataType) -> None:
    with pytest.raises(WrongResultTypeError, match="which does not fit"):
        convert(result, type_)


@pytest.mark.parametrize(
    ("result", "type_", "values"),
    [
        (np.array([2**31 - 1, -(2**31)]), I32, [2**31 - 1, -(2**31)]),
        (np.array([127, -128]), I8, [127, -128]),
        (np.array([0, 1, 1]), B, [False, True, True]),
        (pd.Series([1, None], dtype="Int64"), B, [True, None]),
        (np.array([1, 2]), F64, [1.0, 2.0]),
        ([1, 2], F64, [1.0, 2.0]),
        (np.array([True, False]), I64, [1, 0]),
        (np.array([1.0, 2.0]), I64, [1, 2]),
        (np.array([1.5], np.float32), F64, [1.5]),
        (np.array([0.1]), F32, [np.float32(0.1)]),
        (np.array([1.5], np.float16), F64, [1.5]),
        (np.array([1, 2], np.uint8), I64, [1, 2]),
        (np.array([1, -2]), TEXT, ["1", "-2"]),
        (np.array([1.5]), TEXT, ["1.5"]),
        (np.array([True]), TEXT, ["true"]),
        (np.array(["a"]), TEXT, ["a"]),
        (pd.Series([datetime.date(2020, 2, 29)]), TEXT, ["2020-02-29"]),
        ([decimal.Decimal("1.50")], pa.decimal128(10, 2), [decimal.Decimal("1.50")]),
        (np.array([1]), pa.decimal128(20, 1), [decimal.Decimal("1.0")]),
        (np.array(["2020-01-02"], "datetime64[D]"), pa.date32(), [datetime.date(2020, 1, 2)]),
        (np.array(["2020-01-02"], "datetime64[ns]"), pa.timestamp("us"), [datetime.datetime(2020, 1, 2)]),
        ([b"\x00"], pa.binary(), [b"\x00"]),
        ([[("k", 1)]], pa.map_(TEXT, I64), [[("k", 1)]]),
        (np.array([None, None], object), F64, [None, None]),
        ([1, 2], TEXT, ["1", "2"]),
        ([0, 1], B, [False, True]),
        ([True], I64, [1]),
    ],
)
def test_a_value_that_fits_is_cast(result: Any, type_: pa.DataType, values: list[Any]) -> None:
    assert convert(result, type_) == values


def test_a_refusal_says_what_came_and_what_was_declared() -> None:
    with pytest.raises(WrongResultTypeError) as caught:
        convert(np.array([300, 1]), I8)
    assert caught.value.fact.startswith(
        "the model returned an ndarray of int64 with shape (2,), which does not fit int8"
    )
    assert caught.value.hint == "declare what the model really gives: RETURNS in SQL, result_type in Python"


@pytest.mark.parametrize(
    ("result", "type_", "fact"),
    [
        (pd.Series([2.0, 2.0, 0.7, 3.0]).astype("category"), I64, "row 2 is 0.7"),
        (pd.Series([2.0, 2.0, 0.7, 0.0], dtype="Sparse[float]"), I64, "row 2 is 0.7"),
        (np.array([[1, 2], [3, 300]]), pa.list_(I8), "row 1 is array"),
        (pd.DataFrame({"label": ["a", "b"], "p": [1.5, "x"]}), PAIR, "'p': row 1 is 'x': it is text"),
        (pa.chunked_array([[1], [2, 300]]), I8, "row 2 is 300"),
        (
            pd.DataFrame({"a": [1.0, None]}),
            pa.struct([pa.field("a", I64, nullable=False)]),
            "row 1 is None: 'a' is NOT",
        ),
        (pd.Series([5, 2**53 + 1], dtype="Int64"), F64, "row 1 is 9007199254740993"),
    ],
)
def test_the_first_row_at_fault_is_told_in_every_container(result: Any, type_: pa.DataType, fact: str) -> None:
    with pytest.raises(WrongResultTypeError, match=fact):
        convert(result, type_)
