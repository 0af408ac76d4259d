# SPDX-License-Identifier: Apache-2.0
"""What pyarrow does not tell of Arrow's messages, and has to be known before one is read."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa

_CONTINUATION = 0xFFFFFFFF
_HEADER, _COMPRESSION = 2, 3  # numbers of the fields in the tables Message and RecordBatch of Arrow's format


def is_compressed(message: Any) -> bool:
    """Whether the body of a record batch message is compressed; looks at its metadata only.

    Raises:
        ValueError, struct.error: it is no encapsulated message.
    """
    data = memoryview(message).cast("B")
    (mark,) = struct.unpack_from("<I", data, 0)
    if mark != _CONTINUATION:
        raise ValueError("it does not begin with a continuation marker")
    metadata = data[8:]
    root = _follow(metadata, 0)
    header = _field(metadata, root, _HEADER)
    return header is not None and _field(metadata, _follow(metadata, header), _COMPRESSION) is not None


def _follow(data: memoryview, at: int) -> int:
    """Where an offset leads to."""
    return int(at + struct.unpack_from("<I", data, at)[0])


def _field(data: memoryview, table: int, number: int) -> int | None:
    """Where a field of a FlatBuffers table lies, None if the table has none."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise ValueError("its metadata does not hold together")
    (size,) = struct.unpack_from("<H", data, vtable)
    if size < 6 + 2 * number:
        return None
    (offset,) = struct.unpack_from("<H", data, vtable + 4 + 2 * number)
    return table + offset if offset else None


def storage_of(schema: pa.Schema) -> pa.Schema:
    """The schema with each extension type replaced by the type that it is stored as."""
    return pa.schema([_stored(field) for field in schema], schema.metadata)


def _stored(field: pa.Field) -> pa.Field:
    stored = _storage(field.type)
    return field if stored is field.type else field.with_type(stored)


def _storage(type_: pa.DataType) -> pa.DataType:
    """The type itself where there is no extension type in it."""
    if isinstance(type_, pa.BaseExtensionType):
        return _storage(type_.storage_type)
    if not pa.types.is_nested(type_):
        return type_
    before = [type_.field(i) for i in range(type_.num_fields)]
    after = [_stored(field) for field in before]
    if all(new is old for new, old in zip(after, before, strict=True)):
        return type_
    if pa.types.is_struct(type_):
        return pa.struct(after)
    if pa.types.is_map(type_):
        return pa.map_(*after[0].type)
    if pa.types.is_large_list(type_):
        return pa.large_list(after[0])
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(after[0], type_.list_size)
    return pa.list_(after[0]) if pa.types.is_list(type_) else type_
