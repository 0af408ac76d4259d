# SPDX-License-Identifier: Apache-2.0
"""MLflow's signatures in Arrow types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from mlflow.types import DataType
from mlflow.types.schema import AnyType, Array, Map, Object, Property, Schema, TensorSpec

from sparkmodel.errors import UnsupportedTypeError
from sparkmodel.schema import Column, Signature

_TYPES = {
    DataType.boolean: pa.bool_(),
    DataType.integer: pa.int32(),
    DataType.long: pa.int64(),
    DataType.float: pa.float32(),
    DataType.double: pa.float64(),
    DataType.string: pa.string(),
    DataType.binary: pa.binary(),
    DataType.datetime: pa.timestamp("ns"),  # pandas' own, as pyfunc makes it: the clock on the wall
}
_UNKNOWN = pa.null()  # of an output: no SQL type is this one, so that a registration has to say the result's


def signature_of(signature: Any) -> Signature:
    """MLflow's signature in Arrow types."""
    if signature is None:
        return Signature(params=())
    inputs = signature.inputs
    params = signature.params.params if signature.params else ()
    return Signature(
        params=tuple(param.name for param in params),
        inputs=None if inputs is None else tuple(_column(spec) for spec in _columns(inputs)),
        output=None if signature.outputs is None else _output(signature.outputs),
        output_name=None if signature.outputs is None else _name_of_one(signature.outputs),
    )


def _name_of_one(schema: Schema) -> str | None:
    """The name of an output that is one column; those of several are in the struct's type."""
    only = schema.inputs[0] if len(schema.inputs) == 1 else None
    return None if only is None or isinstance(only, TensorSpec) else only.name


def _columns(schema: Schema) -> list[Any]:
    """The columns of a frame; for one unnamed object, which is what a pydantic type hint gives, its properties."""
    specs = list(schema.inputs)
    if len(specs) == 1 and specs[0].name is None and isinstance(specs[0].type, Object):
        return list(specs[0].type.properties)
    return specs


def _column(spec: Any) -> Column:
    if isinstance(spec, TensorSpec):
        return Column(name=spec.name, type=_from_numpy(spec.type), shape=tuple(spec.shape))
    type_ = spec.dtype if isinstance(spec, Property) else spec.type
    # AnyType is MLflow's for what it cannot name, such as decimals: a column with it is passed on as it comes
    known = None if _is_any(type_) else _arrow(type_)
    return Column(name=spec.name, type=known, required=spec.required is not False)


def _is_any(type_: Any) -> bool:
    """Whether a type leaves something open, at any depth."""
    if isinstance(type_, Array):
        return _is_any(type_.dtype)
    if isinstance(type_, Map):
        return _is_any(type_.value_type)
    if isinstance(type_, Object):
        return any(_is_any(prop.dtype) for prop in type_.properties)
    return isinstance(type_, AnyType)


def _output(schema: Schema) -> pa.DataType:
    types = [_tensor(spec) if isinstance(spec, TensorSpec) else _one(spec.type) for spec in schema.inputs]
    if len(types) == 1:
        return types[0]
    names = [spec.name or str(i) for i, spec in enumerate(schema.inputs)]
    return pa.struct(list(zip(names, types, strict=True)))


def _one(type_: Any) -> pa.DataType:
    return _UNKNOWN if _is_any(type_) else _result(_arrow(type_))


def _result(type_: pa.DataType) -> pa.DataType:
    """Spark's TIMESTAMP is an instant, and what MLflow takes a datetime for where it is a result."""
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", "UTC")
    if pa.types.is_list(type_):
        return pa.list_(_result(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, _result(field.type)) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(type_.key_type, _result(type_.item_type))
    return type_


def _tensor(spec: TensorSpec) -> pa.DataType:
    """The type of one row: the first axis is the batch, whatever MLflow's spark_udf makes of it."""
    type_ = _UNKNOWN if np.dtype(spec.type).kind == "c" else _from_numpy(spec.type)
    for _ in spec.shape[1:]:
        type_ = pa.list_(type_)
    return type_


def _from_numpy(dtype: Any) -> pa.DataType:
    dtype = np.dtype(dtype)
    if dtype.kind in "UTO":
        return pa.string()
    try:
        return pa.from_numpy_dtype(dtype)
    except pa.ArrowNotImplementedError as error:
        raise UnsupportedTypeError(
            f"Cannot use tensor type '{dtype}'", "Arrow has no such type", "pass result_type"
        ) from error


def _arrow(type_: Any) -> pa.DataType:
    if isinstance(type_, Array):
        return pa.list_(_arrow(type_.dtype))
    if isinstance(type_, Map):
        return pa.map_(pa.string(), _arrow(type_.value_type))
    if isinstance(type_, Object):
        # what may be left out is what may be NULL, as Spark's types have no other word for it
        return pa.struct([pa.field(prop.name, _arrow(prop.dtype), not prop.required) for prop in type_.properties])
    if type_ not in _TYPES:
        raise UnsupportedTypeError(f"Cannot use signature type '{type_}'", "Arrow has no such type", "pass result_type")
    return _TYPES[type_]
