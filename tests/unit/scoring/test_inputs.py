# SPDX-License-Identifier: Apache-2.0
"""From a record batch to what a model takes."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.binding import bind
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import Column
from sparkmodel.scoring.inputs import Form, build_input

WHAT = "Cannot score with 'wine'"
F64, F32, I64, I32, TEXT = pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.string()
BIG = 9223372036854775707  # no float64 is equal to it


def build(columns: dict[str, pa.Array], *inputs: Column, by_name: bool = True) -> Any:
    """The input of a model with these inputs (an unsigned one if there are none) for a batch of these columns."""
    batch = pa.RecordBatch.from_pydict(columns)
    return build_input(WHAT, batch, bind(WHAT, batch.schema, by_name, inputs or None))


def tensor(*shape: int, type_: pa.DataType = F64, name: str | None = None) -> Column:
    return Column(name=name, type=type_, shape=shape)


def array(value: Any) -> Any:
    assert isinstance(value, np.ndarray)
    return value


def test_a_frame_has_the_models_columns_in_the_models_order_and_types() -> None:
    given = {"junk": pa.array([0, 0]), "b": pa.array([1, 2], I32), "a": pa.array([0.5, 1.5], F32)}
    frame = build(given, Column(name="a", type=F64), Column(name="b", type=I64))
    assert list(frame.columns) == ["a", "b"]
    assert [str(dtype) for dtype in frame.dtypes] == ["float64", "int64"]
    assert frame.to_numpy().tolist() == [[0.5, 1.0], [1.5, 2.0]]


def test_an_unsigned_model_gets_a_frame_as_it_came() -> None:
    frame = build({"b": pa.array([1, 2]), "a": pa.array(["x", None])})
    assert list(frame.columns) == ["b", "a"]
    assert frame["b"].dtype == np.int64
    assert frame["a"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("type_", "dtype", "value"),
    [
        (pa.int8(), "Int8", -128),
        (pa.int16(), "Int16", 300),
        (I32, "Int32", 2**31 - 1),
        (I64, "Int64", BIG),
        (pa.bool_(), "boolean", True),
    ],
)
def test_integers_and_booleans_beside_a_null_stay_exact(type_: pa.DataType, dtype: str, value: Any) -> None:
    frame = build({"a": pa.array([value, None], type_)}, Column(name="a", type=type_))
    assert str(frame["a"].dtype) == dtype
    assert frame["a"][0] == value
    assert frame["a"][1] is pd.NA


def test_integers_beside_a_null_stay_exact_when_they_are_widened() -> None:
    frame = build({"a": pa.array([2**31 - 1, None], I32)}, Column(name="a", type=I64))
    assert str(frame["a"].dtype) == "Int64"
    assert frame["a"][0] == 2**31 - 1


def test_integers_without_a_null_are_plain() -> None:
    frame = build({"a": pa.array([BIG, 1])}, Column(name="a", type=I64))
    assert frame["a"].dtype == np.int64  # numpy would find a float near it equal
    assert frame["a"][0] == BIG


def test_integers_beside_a_null_stay_exact_within_an_array() -> None:
    values = build({"a": pa.array([[BIG, None]])}, Column(name="a", type=pa.list_(I64)))["a"][0]
    assert int(next(iter(values))) == BIG


def test_unsigned_integers_beside_a_null_stay_exact() -> None:
    frame = build({"a": pa.array([2**64 - 1, None], pa.uint64())})
    assert int(frame["a"][0]) == 2**64 - 1


def test_a_null_and_a_nan_are_both_missing_for_a_float_column() -> None:
    frame = build({"a": pa.array([1.0, None, float("nan")])}, Column(name="a", type=F64))
    assert frame["a"].dtype == np.float64
    assert frame["a"].isna().tolist() == [False, True, True]


def test_text_decimals_dates_and_bytes_keep_their_values_and_nulls() -> None:
    money, day, time = decimal.Decimal("1.10"), datetime.date(2020, 2, 29), datetime.datetime(2020, 1, 2, 3, 4, 5, 6)
    given = {
        "text": pa.array(["ä", None]),
        "money": pa.array([money, None], pa.decimal128(10, 2)),
        "day": pa.array([day, None]),
        "time": pa.array([time, None], pa.timestamp("us")),
        "bytes": pa.array([b"\x00\xff", None]),
    }
    batch = pa.RecordBatch.from_pydict(given)
    frame = build(given, *(Column(name=field.name, type=field.type) for field in batch.schema))
    assert frame.loc[0].tolist() == ["ä", money, day, pd.Timestamp(time), b"\x00\xff"]
    assert frame.loc[1].isna().all()


def test_nested_columns_keep_their_names_and_order_of_fields() -> None:
    given = {
        "s": pa.array([{"b": 1, "a": 2}]),
        "m": pa.array([[("k", 1.5)]], pa.map_(TEXT, F64)),
        "v": pa.array([[1, 2]], pa.list_(I32)),
    }
    wanted = pa.struct([("a", F64), ("b", I64)])
    frame = build(
        given,
        Column(name="s", type=wanted),
        Column(name="m", type=pa.map_(TEXT, F64)),
        Column(name="v", type=pa.list_(F64)),
    )
    assert frame["s"][0] == {"a": 2.0, "b": 1}
    assert dict(frame["m"][0]) == {"k": 1.5}
    assert list(frame["v"][0]) == [1.0, 2.0]
    assert frame["v"][0].dtype == np.float64


def test_a_map_is_a_dict() -> None:
    given = pa.array([[("k", 1.5)], None], pa.map_(TEXT, F64))
    assert build({"m": given}, Column(name="m", type=pa.map_(TEXT, F64)))["m"].tolist() == [{"k": 1.5}, None]


def test_a_decimal_may_fill_a_double() -> None:
    frame = build({"a": pa.array([decimal.Decimal("1.5"), None])}, Column(name="a", type=F64))
    assert frame["a"][0] == 1.5


@pytest.mark.parametrize("type_", [TEXT, pa.large_string()])
def test_a_dictionary_is_decoded(type_: pa.DataType) -> None:
    given = pa.array(["x", None, "y", "x"]).dictionary_encode()
    frame = build({"a": given}, Column(name="a", type=type_))
    assert frame["a"][0] == frame["a"][3] == "x"
    assert frame["a"].isna().tolist() == [False, True, False, False]
    assert not isinstance(build({"a": given})["a"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.array([2**40]), I32),
        (pa.array([-1]), pa.uint8()),
        (pa.array([2**53 + 1]), F64),
        (pa.array([decimal.Decimal("1.25")]), pa.decimal128(5, 1)),
    ],
)
def test_a_value_that_does_not_fit_the_signature_is_refused(values: pa.Array, wanted: pa.DataType) -> None:
    with pytest.raises(SchemaMismatchError, match="column 'a' does not fit"):
        build({"a": values}, Column(name="a", type=wanted))


def test_optional_columns_that_were_left_out_are_not_made_up() -> None:
    optional = Column(name="b", type=F64, required=False)
    assert list(build({"a": pa.array([1.0])}, Column(name="a", type=F64), optional).columns) == ["a"]


def test_rows_are_not_lost_if_all_columns_are_optional_and_left_out() -> None:
    assert len(build({"a": pa.array([1.0, 2.0])}, Column(name="b", type=F64, required=False))) == 2


def test_one_array_column_becomes_the_models_columns() -> None:
    inputs = (Column(name="x", type=F64), Column(name="y", type=F64))
    frame = build({"0": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(I32))}, *inputs, by_name=False)
    assert frame.to_dict("list") == {"x": [1.0, 3.0, 5.0], "y": [2.0, 4.0, 6.0]}
    assert str(frame["x"].dtype) == "float64"
    with_null = build({"0": pa.array([[1.0, None]])}, *inputs, by_name=False)
    assert with_null["y"].isna().all()
    with pytest.raises(SchemaMismatchError, match=r"takes 2 columns \(x, y\)"):
        build({"0": pa.array([[1.0, 2.0, 3.0]])}, *inputs, by_name=False)


def test_a_null_in_an_array_of_integers_is_missing_for_a_model_of_doubles() -> None:
    inputs = (Column(name="x", type=F64), Column(name="y", type=F64))
    assert build({"0": pa.array([[1, None]])}, *inputs, by_name=False)["y"].isna().all()


def test_columns_side_by_side_are_stacked() -> None:
    given = {"0": pa.array([1, 2]), "1": pa.array([0.5, None]), "2": pa.array([3, None], I32)}
    stacked = array(build(given, tensor(-1, 3, type_=F32), by_name=False))
    assert stacked.dtype == np.float32
    np.testing.assert_array_equal(stacked, np.array([[1, 0.5, 3], [2, np.nan, np.nan]], np.float32))
    assert array(build(given, tensor(-1, 3, 1), by_name=False)).shape == (2, 3, 1)


@pytest.mark.parametrize("list_", [pa.list_(I32), pa.large_list(I32), pa.list_(I32, 4)])
def test_an_array_column_becomes_a_tensor_of_the_models_shape_and_type(list_: pa.DataType) -> None:
    given = {"0": pa.array([[1, 2, 3, 4], [5, 6, 7, 8]], list_)}
    flat = array(build(given, tensor(-1, 4, type_=F32)))
    assert (flat.shape, flat.dtype) == ((2, 4), np.float32)
    square = array(build(given, tensor(-1, 2, 2)))
    assert square.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert array(build(given, tensor(-1, -1))).shape == (2, 4)
    assert array(build(given, tensor(-1, -1, -1))).shape == (2, 4)  # nothing says how to fold it


def test_nested_arrays_keep_their_axes() -> None:
    given = {"0": pa.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])}
    assert array(build(given, tensor(-1, 3, 2))).tolist() == [[[1, 2], [3, 4], [5, 6]]]
    assert array(build(given, by_name=False)).shape == (1, 3, 2)
    assert array(build(given, tensor(-1, 6))).tolist() == [[1, 2, 3, 4, 5, 6]]


def test_nested_arrays_with_other_axes_than_the_models_are_refused() -> None:
    with pytest.raises(SchemaMismatchError):
        build({"0": pa.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])}, tensor(-1, 2, 3))


def test_scalars_fill_a_tensor_of_one_axis() -> None:
    assert array(build({"0": pa.array([1, 2, 3])}, tensor(-1))).tolist() == [1, 2, 3]
    assert array(build({"0": pa.array([1, 2, 3])}, tensor(-1, 1))).tolist() == [[1], [2], [3]]
    texts = array(build({"0": pa.array(["a", "b"])}, tensor(-1, type_=TEXT)))
    assert texts.tolist() == ["a", "b"]


def test_a_slice_of_a_batch_is_the_slice() -> None:
    whole = pa.RecordBatch.from_pydict({"0": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])})
    part = whole.slice(1, 1)
    assert array(build_input(WHAT, part, bind(WHAT, part.schema, True, (tensor(-1, 2),)))).tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (pa.array([[1.0, 2.0], [3.0]]), r"different lengths: \[1, 2\]"),
        (pa.array([[1.0], [3.0]]), r"have shape \[1\], the model takes \[2\]"),
        (pa.array([[1.0, 2.0], None]), "has a NULL where the model takes an array"),
        (pa.array([[[1.0], [2.0]], [[1.0, 2.0], [3.0]]]), "different lengths"),
        (pa.array([[[1.0, 2.0], None]]), "has a NULL where the model takes an array"),
    ],
)
def test_what_cannot_be_a_tensor_is_refused(values: pa.Array, why: str) -> None:
    with pytest.raises(SchemaMismatchError, match=why) as caught:
        build({"pixels": values}, tensor(-1, 2, name="pixels"))
    assert "'pixels'" in caught.value.fact


def test_a_null_element_is_nan_in_a_float_tensor_and_refused_in_others() -> None:
    floats = array(build({"0": pa.array([[1.0, None]])}, tensor(-1, 2)))
    assert floats[0, 0] == 1
    assert np.isnan(floats[0, 1])
    assert np.isnan(array(build({"0": pa.array([[1, None]])}, tensor(-1, 2)))[0, 1])
    with pytest.raises(SchemaMismatchError, match="has a NULL, which a tensor cannot hold"):
        build({"0": pa.array([[1, None]])}, tensor(-1, 2, type_=I64))


def test_several_tensors_become_a_dict() -> None:
    given = {"junk": pa.array([0, 0]), "n": pa.array([7, 8]), "v": pa.array([[1.0, 2.0], [3.0, 4.0]])}
    data = build(given, tensor(-1, 2, name="v"), tensor(-1, name="n", type_=I64))
    assert {name: array(values).tolist() for name, values in data.items()} == {"v": [[1, 2], [3, 4]], "n": [7, 8]}


def plain(*types: pa.DataType, given: dict[str, pa.Array] | None = None) -> bool:
    inputs = tuple(Column(name=name, type=type_) for name, type_ in zip("ab", types, strict=False))
    given = given or {name: pa.array([None], type_) for name, type_ in zip("ab", types, strict=False)}
    return bind(WHAT, pa.RecordBatch.from_pydict(given).schema, True, inputs or None).is_plain


def test_plain_is_a_frame_of_the_signatures_own_scalar_types() -> None:
    assert plain(F64, I64)
    assert plain(TEXT, pa.bool_())
    assert plain(F64, given={"a": pa.array([1], I32)})  # it is cast
    assert not plain(F64, pa.list_(F64))
    assert not plain(pa.struct([("x", F64)]))
    assert not plain(given={"a": pa.array([1.0])})  # no signature
    assert not bind(WHAT, pa.schema([("a", F64)]), True, (tensor(-1),)).is_plain


def test_arrays_of_different_lengths_stay_one_for_each_row_where_no_shape_is_known() -> None:
    rows = array(build({"0": pa.array([[1.0, 2.0], [3.0, None, 5.0], []])}, by_name=False))
    assert [type(row) for row in rows] == [np.ndarray] * 3
    assert rows[0].tolist() == [1.0, 2.0]
    assert rows[1].dtype == np.float64
    assert np.isnan(rows[1][1])
    assert build({"a": pa.array([[BIG, None], [1]])})["a"][0].tolist() == [BIG, None]
    with pytest.raises(SchemaMismatchError, match="has a NULL where the model takes an array"):
        build({"0": pa.array([[1.0], None])}, by_name=False)


def test_a_null_among_arrays_in_a_frame_is_none() -> None:
    values = build({"a": pa.array([[1, 2], None])})["a"]
    assert values[0].tolist() == [1, 2]
    assert values[1] is None


INNER = pa.struct([pa.field("x", I64, False), pa.field("y", F64)])
ONLY_X = pa.struct([("x", I32)])


@pytest.mark.parametrize(
    ("wanted", "given", "expected"),
    [
        (INNER, pa.array([{"x": 1}, None]), [{"x": 1}, None]),
        (INNER, pa.array([{"y": 1, "x": 2}]), [{"x": 2, "y": 1.0}]),
        (pa.struct([pa.field("in", INNER, False)]), pa.array([{"in": {"x": 1}}]), [{"in": {"x": 1}}]),
        (pa.map_(TEXT, INNER), pa.array([[("k", {"x": 1})]], pa.map_(TEXT, ONLY_X)), [{"k": {"x": 1}}]),
    ],
    ids=str,
)
def test_a_property_that_is_left_out_is_left_out_for_the_model(
    wanted: pa.DataType, given: pa.Array, expected: list[Any]
) -> None:
    assert build({"a": given}, Column(name="a", type=wanted))["a"].tolist() == expected


def test_a_property_that_is_left_out_in_an_array_of_structs() -> None:
    given = pa.array([[{"x": 1}, {"x": None}]])
    assert build({"a": given}, Column(name="a", type=pa.list_(INNER)))["a"][0].tolist() == [{"x": 1}, {"x": None}]


def test_labels_may_be_numbers() -> None:
    for given in ({"0": pa.array([1.0]), "1": pa.array([2.0])}, {"0": pa.array([1.0]), "1": pa.array(["x"])}):
        batch = pa.RecordBatch.from_pydict(given)
        frame = build_input(WHAT, batch, bind(WHAT, batch.schema, False, None), Form(labels=(0, 1)))
        assert list(frame.columns) == [0, 1]
        assert frame[0][0] == 1.0


OWN = Form(is_own=True)


@pytest.mark.parametrize(
    ("given", "inputs", "write"),
    [
        ({"0": pa.array([[1.0, 2.0]])}, (), lambda data: np.multiply(data, 2, out=data)),
        ({"0": pa.array([[1.0, 2.0]])}, (tensor(-1, 2),), lambda data: np.multiply(data, 2, out=data)),
        ({"t": pa.array([[1.0]])}, (tensor(-1, 1, name="t"), tensor(-1, name="u")), lambda data: data["t"].fill(0)),
        ({"a": pa.array([[1.0, 2.0]]), "b": pa.array([1])}, (), lambda data: data["a"][0].fill(0)),
        ({"a": pa.array([{"v": [[1], [2]]}]), "b": pa.array([1])}, (), lambda data: data["a"][0]["v"][0].fill(0)),
        ({"a": pa.array([1, 2]), "b": pa.array(["x", "y"])}, (), lambda data: data.__setitem__("a", data["a"] + 1)),
    ],
)
def test_memory_that_is_the_models_own_is_written_into_without_a_trace(given: Any, inputs: Any, write: Any) -> None:
    given = {**given, "u": pa.array([1.0])} if len(inputs) > 1 else given
    batch = pa.RecordBatch.from_pydict(given)
    before = batch.to_pylist()
    write(build_input(WHAT, batch, bind(WHAT, batch.schema, bool(inputs) or len(given) > 1, inputs or None), OWN))
    assert batch.to_pylist() == before
