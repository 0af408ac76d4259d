# SPDX-License-Identifier: Apache-2.0
"""Tensors as bytes, as Triton's extension for binary tensors has them: row by row, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute

from sparkmodel.rest.oip.datatypes import ARROW, BYTES, NUMPY

_LENGTH = struct.Struct("<I")


def unpacked(data: memoryview, datatype: str, count: int) -> pa.Array:
    """The elements of a binary tensor.

    Args:
        data: Its bytes, and no others.
        datatype: Of its elements.
        count: How many its shape says that it has.

    Raises:
        ValueError: it has more or fewer, or one is no value.
    """
    if datatype == BYTES:
        return pa.array(_unpacked_bytes(data, count), pa.binary())
    dtype = np.dtype(NUMPY[datatype])
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"it has {len(data)} bytes, its shape and datatype say {count * dtype.itemsize}")
    values = np.frombuffer(data, dtype)
    if datatype == "BOOL":
        if values.size and values.max() > 1:
            raise ValueError("a byte of it is neither 0 nor 1")
        return pa.array(values.astype(bool))
    return pa.array(values, ARROW[datatype])


def _unpacked_bytes(data: memoryview, count: int) -> list[bytes]:
    if count * _LENGTH.size > len(data):
        raise ValueError(f"it has {len(data)} bytes, too few for the {count} elements of its shape")
    values, at = [], 0
    for _ in range(count):
        start = at + _LENGTH.size
        if start > len(data):
            raise ValueError("it ends within an element")
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise ValueError("it ends within an element")
        values.append(bytes(data[start:at]))
    if at != len(data):
        raise ValueError(f"it has {len(data) - at} bytes more than its shape says")
    return values


def packed(values: pa.Array, datatype: str) -> bytes:
    """The bytes of numbers and booleans; NaN for a NULL.

    Raises:
        ValueError: a value is NULL that has no NaN.
    """
    if values.null_count:
        if not pa.types.is_floating(values.type):
            raise ValueError(f"it has NULLs, which {datatype} cannot say")
        values = pa.compute.if_else(values.is_null(), pa.scalar(float("nan"), pa.float64()), values.cast(pa.float64()))
    return bytes(values.to_numpy(zero_copy_only=False).astype(NUMPY[datatype]).tobytes())


def packed_bytes(values: Iterable[bytes | None]) -> bytes:
    """The bytes of BYTES: each value after its length.

    Raises:
        ValueError: a value is NULL.
    """
    parts: list[bytes] = []
    for value in values:
        if value is None:
            raise ValueError("it has NULLs, which BYTES cannot say")
        parts += (_LENGTH.pack(len(value)), value)
    return b"".join(parts)
