# SPDX-License-Identifier: Apache-2.0
"""Arrow types by the datatypes of the Open Inference Protocol, and the inputs and outputs that a signature becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa

from sparkmodel.rest.mlflow.columns import depth_of
from sparkmodel.schema import Column, element
from sparkmodel.spec import ModelSpec

BYTES = "BYTES"
OUTPUT = "prediction"  # what the one output is called, where a prediction is no struct

ARROW: dict[str, pa.DataType] = {
    "BOOL": pa.bool_(),
    "UINT8": pa.uint8(),
    "UINT16": pa.uint16(),
    "UINT32": pa.uint32(),
    "UINT64": pa.uint64(),
    "INT8": pa.int8(),
    "INT16": pa.int16(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "FP16": pa.float16(),
    "FP32": pa.float32(),
    "FP64": pa.float64(),
    BYTES: pa.binary(),
}
# as they lie in a binary tensor
NUMPY: dict[str, str] = {
    "BOOL": "|u1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_NAMES = {type_: name for name, type_ in ARROW.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output, as metadata tells of it.

    Attributes:
        name: Its name.
        datatype: Of its elements.
        shape: With -1 for the axes that each request settles.
        type: Arrow type of one row's value; of one element for a tensor of the signature; None takes any.
        required: Whether it may not be left out.
        is_tensor: Whether the signature itself has a shape.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    type: pa.DataType | None
    required: bool = True
    is_tensor: bool = False

    def to_dict(self) -> dict[str, object]:
        """JSON-ready form; what the datatype does not say is among its parameters."""
        told: dict[str, object] = {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}
        if self.type is not None and self.datatype == BYTES:
            told["parameters"] = {"type": str(self.type)}
        return told


def is_text(type_: pa.DataType) -> bool:
    """Whether values of a type are sent as one JSON text each, there being no tensor that could hold them."""
    return bool(pa.types.is_nested(element(type_)))


def inputs_of(spec: ModelSpec) -> tuple[Tensor, ...] | None:
    """The inputs of a model; None where it does not say what it takes."""
    inputs = spec.signature.inputs
    return None if inputs is None else tuple(_input(column, i) for i, column in enumerate(inputs))


def outputs_of(type_: pa.DataType) -> tuple[Tensor, ...]:
    """The outputs of a model whose predictions have a type: one for each field of a struct, else one."""
    fields: Sequence[pa.Field] = list(type_) if pa.types.is_struct(type_) else [pa.field(OUTPUT, type_)]
    return tuple(_tensor(field.name, field.type) for field in fields)


def is_named(spec: ModelSpec) -> bool:
    """Whether the inputs of a model have names of their own."""
    return all(column.name is not None for column in spec.signature.inputs or ())


def _input(column: Column, number: int) -> Tensor:
    name = f"input-{number}" if column.name is None else column.name
    if column.type is None:
        return Tensor(name=name, datatype=BYTES, shape=(-1,), type=None, required=column.required)
    if column.shape is not None:
        datatype = _NAMES.get(column.type, BYTES)
        return Tensor(name=name, datatype=datatype, shape=(-1, *column.shape[1:]), type=column.type, is_tensor=True)
    return dataclasses.replace(_tensor(name, column.type), required=column.required)


def _tensor(name: str, type_: pa.DataType) -> Tensor:
    if is_text(type_):
        return Tensor(name=name, datatype=BYTES, shape=(-1,), type=type_)
    shape = (-1,) * (1 + depth_of(type_))
    return Tensor(name=name, datatype=_NAMES.get(element(type_), BYTES), shape=shape, type=type_)
