# SPDX-License-Identifier: Apache-2.0
"""`BatchModel` against PySpark's own `predict_batch_udf`: the same inputs, and better ones where PySpark is wrong."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml import functions as theirs
from pyspark.sql.conversion import ArrowBatchTransformer

from sparkmodel.errors import InvalidOptionError, SchemaMismatchError
from sparkmodel.loaders.batch_model import BatchModel, Shapes, make_batch_model

DOUBLE = pa.float64()
WHAT = "Cannot score with 'toy'"
NOON = datetime.datetime(2024, 7, 1, 12, 0, 0, 123456)
DAY = datetime.date(2024, 7, 1)
PARIS = pa.timestamp("us", "Europe/Paris")


def as_batch(*columns: pa.Array, names: list[str] | None = None, binding: bytes = b"position") -> pa.RecordBatch:
    labels = names or [str(i) for i in range(len(columns))]
    return pa.RecordBatch.from_arrays(list(columns), labels).replace_schema_metadata({b"binding": binding})


class Spy:
    """Keeps what it was called with, and gives zeros."""

    def __init__(self) -> None:
        self.inputs: list[np.ndarray[Any, Any]] = []

    def one(self, x: Any) -> Any:
        return self._keep(x)

    def two(self, x: Any, y: Any) -> Any:
        return self._keep(x, y)

    def _keep(self, *inputs: Any) -> Any:
        self.inputs = list(inputs)
        return np.zeros(len(inputs[0]))


def ours(batch: pa.RecordBatch, arity: int = 1, shapes: Shapes = None) -> list[np.ndarray[Any, Any]]:
    """The inputs that a function of one or two parameters gets from us."""
    spy = Spy()
    BatchModel(spy.one if arity == 1 else spy.two, shapes, DOUBLE, WHAT).predict(batch)
    return spy.inputs


def spark(batch: pa.RecordBatch, arity: int = 1, shapes: Any = None) -> list[np.ndarray[Any, Any]]:
    """The inputs that it gets from PySpark: its own steps, from the Arrow batch on."""
    if batch.schema.metadata[b"binding"] == b"name":
        struct = as_batch(pa.StructArray.from_arrays(batch.columns, fields=list(batch.schema)))
        [data] = ArrowBatchTransformer.to_pandas(struct, timezone="Europe/Paris", df_for_struct=True)
    else:
        series = ArrowBatchTransformer.to_pandas(batch, timezone="Europe/Paris", df_for_struct=True)
        data = series[0] if len(series) == 1 else tuple(series)
    has_tensors = theirs._has_tensor_cols(data)
    [frame] = theirs._batched(data, 1000)
    if arity > 1:
        return theirs._validate_and_transform_multiple_inputs(frame, shapes, arity)
    return [theirs._validate_and_transform_single_input(frame, shapes, has_tensors, isinstance(data, tuple))]


def assert_same(given: list[np.ndarray[Any, Any]], expected: list[np.ndarray[Any, Any]]) -> None:
    assert len(given) == len(expected)
    for x, y in zip(given, expected, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        np.testing.assert_array_equal(x, y)
        assert x.dtype != object or [type(v) for v in x.flat] == [type(v) for v in y.flat]


SCALARS = {
    "int8": pa.array([1, -128], pa.int8()),
    "int16": pa.array([1, -(2**15)], pa.int16()),
    "int32": pa.array([1, -(2**31)], pa.int32()),
    "int64": pa.array([2**63 - 1, -(2**63)]),
    "float": pa.array([0.1, float("nan")], pa.float32()),
    "double": pa.array([0.1, float("inf")]),
    "boolean": pa.array([True, False]),
    "string": pa.array(["", "é"]),
    "binary": pa.array([b"", b"\xff"]),
    "date": pa.array([DAY, datetime.date(1, 1, 1)]),
    "timestamp": pa.array([NOON, NOON], PARIS),
    "timestamp_ntz": pa.array([NOON, NOON], pa.timestamp("us")),
    "interval": pa.array([datetime.timedelta(1), datetime.timedelta(microseconds=1)]),
    "decimal": pa.array([decimal.Decimal("1.10"), decimal.Decimal("-0.01")], pa.decimal128(10, 2)),
    "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "int32 with NULL": pa.array([1, None], pa.int32()),
    "small int64 with NULL": pa.array([2**53, None]),
    "boolean with NULL": pa.array([True, None]),
    "float with NULL": pa.array([0.1, None], pa.float32()),
    "double with NULL": pa.array([0.1, None]),
    "binary with NULL": pa.array([b"a", None]),
    "date with NULL": pa.array([DAY, None]),
    "timestamp with NULL": pa.array([NOON, None], PARIS),
    "decimal with NULL": pa.array([decimal.Decimal("1.10"), None], pa.decimal128(10, 2)),
    "only NULL": pa.array([None, None]),
    "only NULL, int64": pa.array([None, None], pa.int64()),
}
TENSORS = {
    "double": pa.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]),
    "float": pa.array([[1.0] * 4, [2.0] * 4], pa.list_(pa.float32())),
    "int64": pa.array([[1, 2, 3, 2**63 - 1], [5, 6, 7, 8]]),
    "boolean": pa.array([[True] * 4, [False] * 4]),
    "string": pa.array([["a", "b", "c", ""], ["e", "f", "g", "h"]]),
    "double with NULL": pa.array([[1.0, None, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]),
    "int64 with NULL": pa.array([[1, None, 3, 2**63 - 1], [5, 6, 7, 8]]),
    "string with NULL": pa.array([["a", None, "c", ""], ["e", "f", "g", "h"]]),
}
MIXES = [
    ("int32", "int64"),
    ("int64", "double"),
    ("float", "int32"),
    ("float", "double"),
    ("boolean", "boolean"),
    ("boolean", "double"),
    ("double", "double with NULL"),
    ("int32 with NULL", "double"),
    ("string", "double"),
    ("timestamp", "timestamp"),
    ("date", "decimal"),
]


@pytest.mark.parametrize("kind", SCALARS)
def test_a_scalar_column_arrives_as_in_pyspark(kind: str) -> None:
    batch = as_batch(SCALARS[kind])
    assert_same(ours(batch), spark(batch))
    two = as_batch(SCALARS[kind], SCALARS["double"])
    assert_same(ours(two, arity=2), spark(two, arity=2))


@pytest.mark.parametrize("shape", [[4], [2, 2], [1, 4, 1]], ids=str)
@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor_column_arrives_as_in_pyspark(kind: str, shape: list[int]) -> None:
    batch = as_batch(TENSORS[kind])
    assert_same(ours(batch, shapes=[shape]), spark(batch, shapes=[shape]))
    two = as_batch(TENSORS[kind], SCALARS["int8"])
    assert_same(ours(two, arity=2, shapes=[shape, None]), spark(two, arity=2, shapes=[shape, None]))
    assert_same(ours(two, arity=2, shapes={0: shape}), spark(two, arity=2, shapes=[shape, None]))


@pytest.mark.parametrize(("left", "right"), MIXES)
def test_a_struct_of_scalars_arrives_side_by_side_as_in_pyspark(left: str, right: str) -> None:
    batch = as_batch(SCALARS[left], SCALARS[right], names=["a", "b"], binding=b"name")
    assert_same(ours(batch), spark(batch))
    assert_same(ours(batch, shapes=[[2]]), spark(batch, shapes=[[2]]))
    assert_same(ours(batch, arity=2), spark(batch, arity=2))


def test_a_shape_of_one_adds_an_axis_as_in_pyspark() -> None:
    batch = as_batch(SCALARS["double"])
    assert_same(ours(batch, shapes=[[1]]), spark(batch, shapes=[[1]]))
    assert_same(ours(batch, shapes=[[]]), spark(batch, shapes=[[]]))
    two = as_batch(SCALARS["double"], SCALARS["int8"])
    assert_same(ours(two, 2, [[1], []]), spark(two, 2, [[1], []]))


def test_a_list_without_a_shape_beside_one_with_a_shape_stays_a_list_as_in_pyspark() -> None:
    ragged = pa.array([[1.0], [2.0, 3.0]])
    batch = as_batch(TENSORS["double"], ragged)
    for inputs in (ours(batch, 2, {0: [4]}), spark(batch, 2, [[4], None])):
        assert inputs[1].dtype == object
        assert [value.tolist() for value in inputs[1]] == [[1.0], [2.0, 3.0]]


def test_a_struct_among_columns_counts_as_its_fields_as_in_pyspark() -> None:
    struct = pa.StructArray.from_arrays([SCALARS["double"]], names=["a"])
    batch = as_batch(SCALARS["int64"], struct)
    assert_same(ours(batch, 2), spark(batch, 2))


def test_a_slice_gives_its_own_rows_only() -> None:
    lists = pa.array([[9.0, 9.0], [1.0, 2.0], None, [3.0, 4.0], [9.0, 9.0]]).slice(1, 3)
    numbers = pa.array([9, 1, 2, 3, 9]).slice(1, 3)
    x, y = ours(as_batch(lists, numbers), 2, {0: [2]})
    np.testing.assert_array_equal(x, [[1.0, 2.0], [np.nan, np.nan], [3.0, 4.0]])
    np.testing.assert_array_equal(y, [1, 2, 3])


@pytest.mark.parametrize(
    ("batch", "arity", "shapes", "fact"),
    [
        (as_batch(TENSORS["double"]), 1, None, "column '0' is list<item: double>"),
        (as_batch(TENSORS["double"], SCALARS["double"]), 2, None, "column '0' is list<item: double>"),
        (as_batch(TENSORS["double"]), 1, [[3]], r"have 4 elements, the shape is \[3\]"),
        (as_batch(TENSORS["double"]), 1, [[2]], r"have 4 elements, the shape is \[2\]"),
        (as_batch(TENSORS["double"]), 1, [[8]], r"have 4 elements, the shape is \[8\]"),
        (as_batch(TENSORS["double"], SCALARS["int8"]), 2, [[8], None], r"have 4 elements, the shape is \[8\]"),
        (as_batch(pa.array([[1.0], [1.0, 2.0]])), 1, [[1]], r"different lengths: \[1, 2\]"),
        (as_batch(SCALARS["double"]), 1, [[2]], r"one value does not have the shape \[2\]"),
        (as_batch(SCALARS["double"], SCALARS["int8"]), 2, [[2], None], r"one value does not have the shape \[2\]"),
        (as_batch(SCALARS["double"], SCALARS["int8"]), 1, None, "takes one input, given are 2 columns"),
        (as_batch(SCALARS["double"], TENSORS["double"], binding=b"name"), 1, [[2]], "one input, given are 2 columns"),
        (as_batch(SCALARS["double"], SCALARS["int8"], binding=b"name"), 1, [[3]], r"shape \[3\], given are 2 columns"),
    ],
)
def test_columns_that_do_not_fit_are_errors_here_and_in_pyspark(
    batch: pa.RecordBatch, arity: int, shapes: Any, fact: str
) -> None:
    with pytest.raises(SchemaMismatchError, match=fact):
        ours(batch, arity, shapes)
    if shapes is None and any(pa.types.is_list(column.type) for column in batch.columns):
        return  # PySpark checks this one in a place of its own
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        spark(batch, arity, shapes)


def test_the_number_of_columns_is_the_number_of_parameters() -> None:
    with pytest.raises(SchemaMismatchError, match="takes 2 inputs, given are 3 columns"):
        ours(as_batch(*[SCALARS["double"]] * 3), 2)
    with pytest.raises(SchemaMismatchError, match="takes 2 inputs, given are 1 columns"):
        ours(as_batch(SCALARS["double"]), 2)
    with pytest.raises(SchemaMismatchError, match="takes 0 inputs, given are 1 columns"):
        BatchModel(lambda: 1, None, DOUBLE, WHAT).predict(as_batch(SCALARS["double"]))


@pytest.mark.parametrize(
    "shapes", [[[4]], [[4], None, None], {2: [4]}, {-1: [4]}, [[-1, 4], None], [["4"], None], [4, 4]]
)
def test_shapes_that_fit_no_input_are_errors_before_any_batch(shapes: Any) -> None:
    with pytest.raises(InvalidOptionError, match="Cannot use option 'input_tensor_shapes'"):
        make_batch_model(lambda: lambda x, y: x, shapes, DOUBLE, WHAT)


# where PySpark is wrong


def test_a_large_integer_beside_a_null_stays_exact() -> None:
    column = pa.array([2**63 - 1, None, -(2**63)])
    batch = as_batch(column)
    assert spark(batch)[0].tolist()[0] != 2**63 - 1
    [given] = ours(batch)
    assert given.tolist() == [2**63 - 1, None, -(2**63)]
    assert given.dtype == object


def test_a_missing_string_is_none_and_no_float() -> None:
    [given] = ours(as_batch(pa.array(["a", None, ""])))
    assert given.tolist() == ["a", None, ""]


def test_a_null_row_of_a_float_tensor_is_a_row_of_nan() -> None:
    for type_ in (pa.float32(), pa.float64()):
        batch = as_batch(pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(type_)))
        with pytest.raises(ValueError, match="must match exactly"):
            spark(batch, shapes=[[2]])
        [given] = ours(batch, shapes=[[2]])
        assert given.dtype == type_.to_pandas_dtype()
        np.testing.assert_array_equal(given, [[1.0, 2.0], [np.nan, np.nan], [3.0, np.nan]])
    [given] = ours(as_batch(pa.array([None, None], pa.list_(DOUBLE))), shapes=[[2, 1]])
    assert given.shape == (2, 2, 1)
    assert np.isnan(given).all()


def test_a_null_row_of_another_tensor_names_its_column() -> None:
    batch = as_batch(SCALARS["double"], pa.array([[1, 2], None]))
    with pytest.raises(SchemaMismatchError, match="column '1' has a NULL where the model takes an array of int64"):
        ours(batch, 2, {1: [2]})


def test_lists_of_lists_are_tensors_too() -> None:
    nested = pa.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    [given] = ours(as_batch(nested), shapes=[[2, 2]])
    assert given.tolist() == nested.to_pylist()
    with pytest.raises(SchemaMismatchError, match="different lengths"):
        ours(as_batch(pa.array([[[1.0, 2.0], [3.0]], [[5.0], [7.0, 8.0]]])), shapes=[[3]])


def test_a_timestamp_beyond_nanoseconds_keeps_its_value() -> None:
    far = datetime.datetime(9999, 12, 31, 12)
    batch = as_batch(pa.array([far], pa.timestamp("us")))
    with pytest.raises(pa.ArrowInvalid, match="out of bounds"):
        spark(batch)
    assert ours(batch)[0].tolist() == [far]


def test_no_shape_for_the_only_scalar_is_no_error() -> None:
    batch = as_batch(SCALARS["double"])
    with pytest.raises(TypeError):
        spark(batch, shapes=[None])
    for shapes in ([None], {}, []):
        assert_same(ours(batch, shapes=shapes), spark(batch))


@pytest.mark.parametrize("kind", ["double", "int64", "boolean", "string"])
def test_a_function_may_work_in_place(kind: str) -> None:
    for given in (*ours(as_batch(SCALARS[kind])), *ours(as_batch(TENSORS[kind]), shapes=[[4]])):
        assert given.flags.writeable
    [given] = ours(as_batch(SCALARS[kind], SCALARS[kind], binding=b"name"))
    assert given.flags.writeable


def test_an_empty_batch_has_its_shape() -> None:
    x, y = ours(as_batch(pa.array([], pa.list_(DOUBLE)), pa.array([], pa.string())), 2, {0: [2, 3]})
    assert (x.shape, y.shape) == ((0, 2, 3), (0,))
