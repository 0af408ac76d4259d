# SPDX-License-Identifier: Apache-2.0
"""What pyarrow does not tell of Arrow's messages, and has to be known before one is read."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa

_CONTINUATION = 0xFFFFFFFF
_KIND, _HEADER = 1, 2  # numbers of fields in the tables Message, DictionaryBatch and RecordBatch of Arrow's format
_DICTIONARY, _DATA = 2, 1  # a kind of message, and where its record batch is
_NODES, _COMPRESSION = 1, 3
# Columns of nulls, of empty structs, of lists without items or of runs have rows without bytes. Beyond a number that is
# no harm, values must have been paid for: a bit for each at least, and some levels of structs around it.
_FREE_VALUES, _VALUES_A_BYTE = 1 << 22, 64
_MOST_VIEWED = 1 << 28


def refuse_bomb(message: Any) -> None:
    """See that a record batch message does not become much more than it is; looks at its metadata only.

    Raises:
        ValueError, struct.error: it is no encapsulated message, is compressed, or has values without bytes.
    """
    data = memoryview(message).cast("B")
    mark, size = struct.unpack_from("<II", data, 0)
    if mark != _CONTINUATION:
        raise ValueError("it does not begin with a continuation marker")
    metadata = data[8:]
    header = _field(metadata, _follow(metadata, 0), _HEADER)
    if header is None:
        return
    batch, kind = _follow(metadata, header), _field(metadata, _follow(metadata, 0), _KIND)
    if kind is not None and struct.unpack_from("<B", metadata, kind)[0] == _DICTIONARY:
        data_at = _field(metadata, batch, _DATA)
        if data_at is None:
            raise ValueError("a dictionary of it has no values")
        batch = _follow(metadata, data_at)
    if _field(metadata, batch, _COMPRESSION) is not None:
        raise ValueError("it is compressed")
    nodes = _field(metadata, batch, _NODES)
    if nodes is None:
        return
    first = _follow(metadata, nodes)
    (count,) = struct.unpack_from("<I", metadata, first)
    lengths = struct.unpack_from(f"<{min(count, len(metadata) // 16) * 2}q", metadata, first + 4)[::2]
    values, most = sum(lengths), _FREE_VALUES + _VALUES_A_BYTE * max(0, len(metadata) - size)
    if values > most:
        raise ValueError(f"it has {values} values in {len(data)} bytes, the limit is {most}")


def refuse_views(batch: pa.RecordBatch) -> None:
    """See that texts that lie one over the other do not become much more than they are.

    Raises:
        ValueError: they would.
    """
    for column in batch.columns:
        if column.type in (pa.string_view(), pa.binary_view()):
            views = column.buffers()[1]
            viewed = sum(memoryview(views).cast("B").cast("I")[::4]) if views else 0
            if viewed > _MOST_VIEWED:
                raise ValueError(f"its texts have {viewed} bytes, the limit is {_MOST_VIEWED}")


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
    if pa.types.is_union(type_) or pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_):
        raise TypeError(f"a column of type {type_} cannot be sent")  # a few values could be very many
    before = [type_.field(i) for i in range(type_.num_fields)]
    if any(pa.types.is_string_view(field.type) or pa.types.is_binary_view(field.type) for field in before):
        raise TypeError(f"a column of type {type_} cannot be sent")
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
