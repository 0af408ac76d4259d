# SPDX-License-Identifier: Apache-2.0
"""MLflow's signatures as Arrow types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Map, Object, Property

from sparkmodel.errors import UnsupportedTypeError
from sparkmodel.loaders.mlflow_signature import signature_of
from sparkmodel.schema import Column, Signature
from sparkmodel.spark.types import to_spark

TYPES = [
    (DataType.boolean, pa.bool_()),
    (DataType.integer, pa.int32()),
    (DataType.long, pa.int64()),
    (DataType.float, pa.float32()),
    (DataType.double, pa.float64()),
    (DataType.string, pa.string()),
    (DataType.binary, pa.binary()),
    (DataType.datetime, pa.timestamp("ns")),
    (Array(DataType.float), pa.list_(pa.float32())),
    (Array(Array(DataType.long)), pa.list_(pa.list_(pa.int64()))),
    (Map(DataType.double), pa.map_(pa.string(), pa.float64())),
    (
        Object([Property("b", DataType.string), Property("a", Array(DataType.double), required=False)]),
        pa.struct([("a", pa.list_(pa.float64())), pa.field("b", pa.string(), False)]),  # MLflow sorts the properties
    ),
    (
        Array(Object([Property("x", Map(DataType.long))])),
        pa.list_(pa.struct([pa.field("x", pa.map_(pa.string(), pa.int64()), False)])),
    ),
]


def as_result(type_: pa.DataType) -> pa.DataType:
    """Of a result any field may be NULL. A datetime is an instant, as MLflow's spark_udf makes of it."""
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", "UTC")
    if pa.types.is_list(type_):
        return pa.list_(as_result(type_.value_type))
    return pa.struct([(f.name, as_result(f.type)) for f in type_]) if pa.types.is_struct(type_) else type_


def signature(inputs: list[Any] | None = None, outputs: list[Any] | None = None) -> Signature:
    return signature_of(
        ModelSignature(
            inputs=None if inputs is None else Schema(inputs), outputs=None if outputs is None else Schema(outputs)
        )
    )


def test_every_type_of_mlflow_is_covered() -> None:
    assert set(DataType) == {type_ for type_, _ in TYPES if isinstance(type_, DataType)}


@pytest.mark.parametrize(("mlflow_type", "arrow"), TYPES, ids=str)
def test_a_column_has_the_arrow_type_of_its_mlflow_type(mlflow_type: Any, arrow: pa.DataType) -> None:
    got = signature([ColSpec(mlflow_type, "a")], [ColSpec(mlflow_type)])
    assert got == Signature(inputs=(Column(name="a", type=arrow),), output=as_result(arrow), params=())


def test_names_order_and_optional_columns_are_kept() -> None:
    got = signature(
        [ColSpec("double", "b"), ColSpec("long", "a", required=False), ColSpec("string", "c", required=True)]
    )
    assert got.inputs is not None
    assert [(column.name, column.required) for column in got.inputs] == [("b", True), ("a", False), ("c", True)]
    assert all(column.shape is None for column in got.inputs)


def test_columns_without_names_have_none() -> None:
    got = signature([ColSpec("double"), ColSpec("double")])
    assert got.inputs is not None
    assert [column.name for column in got.inputs] == [None, None]


@pytest.mark.parametrize(
    ("shape", "output"),
    [
        ((-1,), pa.int64()),  # a plain classifier gives one class for each row, not an array
        ((-1, 1), pa.list_(pa.int64())),
        ((-1, 3), pa.list_(pa.int64())),
        ((-1, -1), pa.list_(pa.int64())),
        ((-1, 8, 8), pa.list_(pa.list_(pa.int64()))),
    ],
)
def test_the_first_axis_of_a_tensor_is_the_batch(shape: tuple[int, ...], output: pa.DataType) -> None:
    assert signature(outputs=[TensorSpec(np.dtype("int64"), shape)]).output == output


@pytest.mark.parametrize(
    ("dtype", "arrow"),
    [
        ("float64", pa.float64()),
        ("float32", pa.float32()),
        ("float16", pa.float16()),
        ("int8", pa.int8()),
        ("uint8", pa.uint8()),
        ("bool", pa.bool_()),
        ("str", pa.string()),
        ("object", pa.string()),
        ("datetime64[ns]", pa.timestamp("ns")),
    ],
)
def test_a_tensor_input_keeps_its_element_type_and_shape(dtype: str, arrow: pa.DataType) -> None:
    got = signature([TensorSpec(np.dtype(dtype), (-1, 64))])
    assert got.inputs == (Column(name=None, type=arrow, shape=(-1, 64)),)


def test_bytes_are_an_element_type_too() -> None:
    assert signature([TensorSpec(np.dtype("S"), (-1,))]).inputs == (Column(name=None, type=pa.binary(), shape=(-1,)),)


def test_several_tensors_keep_their_names() -> None:
    got = signature(
        [TensorSpec(np.dtype("float32"), (-1, 2), "left"), TensorSpec(np.dtype("int64"), (-1,), "right")],
        [TensorSpec(np.dtype("float32"), (-1, 2), "p"), TensorSpec(np.dtype("int64"), (-1,), "label")],
    )
    assert got.inputs is not None
    assert [(column.name, column.shape) for column in got.inputs] == [("left", (-1, 2)), ("right", (-1,))]
    assert got.output == pa.struct([("p", pa.list_(pa.float32())), ("label", pa.int64())])


def test_several_outputs_become_a_struct_and_one_stays_a_value() -> None:
    assert signature(outputs=[ColSpec("string", "label")]).output == pa.string()
    several = signature(outputs=[ColSpec("string", "label"), ColSpec("double", "p")])
    assert several.output == pa.struct([("label", pa.string()), ("p", pa.float64())])
    unnamed = signature(outputs=[ColSpec("string"), ColSpec("double")])
    assert unnamed.output == pa.struct([("0", pa.string()), ("1", pa.float64())])


def test_a_half_signature_and_none_at_all() -> None:
    assert signature_of(None) == Signature(params=())
    assert signature(inputs=[ColSpec("double", "a")]).output is None
    assert signature(outputs=[ColSpec("double")]).inputs is None


@pytest.mark.parametrize(
    ("frame", "result", "expected"),
    [
        (
            pd.DataFrame({"a": [1.5], "b": ["x"], "c": [True]}),
            np.array([1, 0]),
            Signature(
                params=(),
                inputs=(
                    Column(name="a", type=pa.float64()),
                    Column(name="b", type=pa.string()),
                    Column(name="c", type=pa.bool_()),
                ),
                output=pa.int64(),
            ),
        ),
        (
            np.zeros((2, 64), np.float32),
            np.zeros((2, 10), np.float32),
            Signature(
                inputs=(Column(name=None, type=pa.float32(), shape=(-1, 64)),), output=pa.list_(pa.float32()), params=()
            ),
        ),
        (
            pd.DataFrame({"a": [1.5, None]}),
            pd.DataFrame({"label": ["x"], "p": [0.5]}),
            Signature(
                params=(),
                inputs=(Column(name="a", type=pa.float64(), required=False),),
                output=pa.struct([("label", pa.string()), ("p", pa.float64())]),
            ),
        ),
    ],
    ids=["classifier", "network", "a NaN in, two columns out"],
)
def test_an_inferred_signature_reads_as_one_would_expect(frame: Any, result: Any, expected: Signature) -> None:
    assert signature_of(infer_signature(frame, result)) == expected


@pytest.mark.parametrize(
    "spec",
    [
        ColSpec(AnyType()),
        ColSpec(Array(AnyType())),
        ColSpec(Object([Property("x", Map(AnyType()))])),
        TensorSpec(np.dtype("complex128"), (-1,)),
    ],
    ids=str,
)
def test_an_output_that_has_no_type_leaves_it_to_the_registration(spec: Any) -> None:
    output = signature(outputs=[spec]).output
    with pytest.raises(UnsupportedTypeError) as caught:
        to_spark(output)
    assert caught.value.hint == "pass result_type"


def test_a_tensor_of_a_type_that_arrow_lacks_is_refused_as_an_input() -> None:
    with pytest.raises(UnsupportedTypeError):
        signature([TensorSpec(np.dtype("complex128"), (-1,))])


@pytest.mark.parametrize(
    "type_", [AnyType(), Array(AnyType()), Map(AnyType()), Object([Property("x", Array(AnyType()))])], ids=str
)
@pytest.mark.parametrize("required", [True, False])
def test_a_column_that_leaves_its_type_open_takes_any(type_: Any, required: bool) -> None:
    assert signature([ColSpec(type_, "a", required=required)]).inputs == (
        Column(name="a", type=None, required=required),
    )


def test_properties_that_may_be_left_out_are_known_at_every_depth() -> None:
    inner = Object([Property("x", DataType.long), Property("y", DataType.long, required=False)])
    got = signature([ColSpec(Array(Object([Property("in", inner), Property("to", inner, required=False)])), "a")])
    assert got.inputs is not None
    (type_,) = (column.type for column in got.inputs)
    assert type_ is not None
    outer = type_.value_type
    assert [(field.name, field.nullable) for field in outer] == [("in", False), ("to", True)]
    assert [(field.name, field.nullable) for field in outer.field("in").type] == [("x", False), ("y", True)]
