# SPDX-License-Identifier: Apache-2.0
"""Arrow types as JSON Schema: what a value looks like in a request and in an answer."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyarrow import types as t

from sparkmodel.schema import Column

Schema = dict[str, Any]

_OIP = {
    "bool": "BOOL",
    "halffloat": "FP16",
    "float": "FP32",
    "double": "FP64",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def of_type(type_: pa.DataType | None) -> Schema:
    """The schema of one value."""
    if type_ is None or t.is_null(type_):
        return {}
    if t.is_boolean(type_):
        return {"type": "boolean"}
    if t.is_integer(type_):
        bits, signed = type_.bit_width, t.is_signed_integer(type_)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return {"type": "integer", "minimum": low, "maximum": high, "format": str(type_)}
    if t.is_floating(type_):
        return {"type": "number", "format": "double" if t.is_float64(type_) else "float"}
    if t.is_decimal(type_):
        return {"type": ["number", "string"]}
    if t.is_binary(type_) or t.is_large_binary(type_) or t.is_fixed_size_binary(type_):
        return {"type": "string", "contentEncoding": "base64"}
    if t.is_timestamp(type_):
        return {"type": "string", "format": "date-time"}
    if t.is_date(type_):
        return {"type": "string", "format": "date"}
    if t.is_map(type_):
        return {"type": "object", "additionalProperties": of_type(type_.item_type)}
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return {"type": "array", "items": of_type(type_.value_type)}
    if t.is_struct(type_):
        fields = [type_.field(i) for i in range(type_.num_fields)]
        return {
            "type": "object",
            "properties": {field.name: of_type(field.type) for field in fields},
            "required": [field.name for field in fields if not field.nullable],
        }
    return {"type": "string"}


def of_input(column: Column) -> Schema:
    """The schema of one row's value of an input."""
    return of_tensor(column.type, column.shape[1:]) if column.shape else of_type(column.type)


def of_tensor(type_: pa.DataType | None, shape: tuple[int, ...]) -> Schema:
    """The schema of nested lists; axes of -1 have any length."""
    if not shape:
        return of_type(type_)
    length = {} if shape[0] < 0 else {"minItems": shape[0], "maxItems": shape[0]}
    return {"type": "array", "items": of_tensor(type_, shape[1:]), **length}


def example_of(schema: Schema) -> Any:
    """A value that fits a schema."""
    kind = schema.get("type", "number")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [example_of(schema["items"])] * max(1, schema.get("minItems", 1))
    if kind == "object":
        return {name: example_of(field) for name, field in schema.get("properties", {}).items()}
    formats = {"date": "2026-01-01", "date-time": "2026-01-01T00:00:00"}
    text = formats.get(schema.get("format", ""), "")
    return {"boolean": True, "integer": 0, "number": 0.0, "string": text}[kind]


def datatype_of(type_: pa.DataType | None) -> str:
    """Its name in the Open Inference Protocol."""
    return "FP64" if type_ is None else _OIP.get(str(type_), "BYTES")
