# SPDX-License-Identifier: Apache-2.0
"""From tensors to Arrow columns, and from predictions to tensors. What the protocol has no datatype for is text."""

from __future__ import annotations

import base64
import itertools
import math
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute

from sparkmodel.rest import strict
from sparkmodel.rest import values as json_values
from sparkmodel.rest.mlflow.columns import depth_of
from sparkmodel.rest.mlflow.leaves import array_of
from sparkmodel.rest.oip.datatypes import ARROW, BYTES, Tensor, is_text
from sparkmodel.rest.oip.packed import packed, packed_bytes
from sparkmodel.rest.settings import Settings
from sparkmodel.schema import can_widen, element, is_list

_PLAIN = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
_TEXTS = (pa.types.is_string, pa.types.is_large_string)
_BINARIES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


def flat(data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """The elements of a tensor in JSON, row by row, whether its lists are nested or not.

    Raises:
        ValueError: they are not as its shape says.
    """
    if any(type(one) is list for one in data):
        level: list[Any] = [data]
        for axis in shape:
            if not all(type(one) is list and len(one) == axis for one in level):
                raise ValueError("its data is nested in another way than its shape says")
            level = list(itertools.chain.from_iterable(level))
        data = level
    if len(data) != math.prod(shape):
        raise ValueError(f"it has {len(data)} elements, its shape says {math.prod(shape)}")
    return data


def elements(data: list[Any], datatype: str, time_zone: str) -> pa.Array:
    """The elements of a tensor in JSON; null is NULL, BYTES are texts.

    Raises:
        ValueError: one is no value of the datatype.
    """
    return array_of(data, pa.string() if datatype == BYTES else ARROW[datatype], time_zone)


def column(
    given: pa.Array, shape: tuple[int, ...], datatype: str, wanted: Tensor, time_zone: str, settings: Settings
) -> pa.Array:
    """The elements of an input as a column, one value or list of values a row.

    Args:
        given: The elements: strings where they were JSON, binary where they were bytes or base64.
        shape: Of the input, rows first.
        datatype: Of the input.
        wanted: What the model takes.
        time_zone: Of the model.
        settings: Limits of JSON texts.

    Raises:
        ValueError: it is not what the model takes.
    """
    type_ = wanted.type
    if type_ is None:
        return folded(_known(given), shape)
    is_json = datatype == BYTES and pa.types.is_nested(type_) and not wanted.is_tensor and len(shape) == 1
    if is_json or (datatype == BYTES and is_text(type_) and shape[1:] == (1,)):
        texts = [None if one is None else strict.loads(_encoded(one), settings) for one in given.to_pylist()]
        return array_of(texts, type_, time_zone)
    fits = len(shape) == len(wanted.shape) and all(w in (-1, s) for w, s in zip(wanted.shape, shape, strict=True))
    if not fits and not (len(wanted.shape) == 1 and shape[1:] == (1,)):
        raise ValueError(f"its shape is {list(shape)}, the model takes {list(wanted.shape)}")
    leaf = element(type_)
    values = _texts(given, leaf, time_zone) if datatype == BYTES else given
    if not can_widen(values.type, leaf):
        raise ValueError(f"its datatype is {datatype}, the model takes {wanted.datatype}")
    return folded(values, shape if fits else shape[:1])


def folded(values: pa.Array, shape: tuple[int, ...]) -> pa.Array:
    """Elements as lists of lists, as a shape says, rows first."""
    for axis in reversed(shape[1:]):
        values = pa.ListArray.from_arrays(np.arange(0, len(values) + 1, axis, dtype=np.int32), values)
    return values


def _encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _known(given: pa.Array) -> pa.Array:
    """What a model that does not say what it takes gets: text where bytes are text."""
    if given.type == pa.binary():
        try:
            return given.cast(pa.string())
        except pa.ArrowInvalid:
            return given
    return given


def _texts(given: pa.Array, leaf: pa.DataType, time_zone: str) -> pa.Array:
    """BYTES as what they stand for."""
    if any(holds(leaf) for holds in _BINARIES):
        return given.cast(pa.binary())
    texts = given.cast(pa.string())  # that it is UTF-8 is checked
    if any(holds(leaf) for holds in (*_TEXTS, *_PLAIN)):
        return texts
    return array_of(texts.to_pylist(), leaf, time_zone)


def written(
    values: pa.Array, tensor: Tensor, time_zone: str, *, as_bytes: bool, as_json: bool = False
) -> tuple[dict[str, Any], bytes]:
    """An output: what JSON says of it, and its bytes, if it is written so.

    Args:
        values: One for each row.
        tensor: What is known of it.
        time_zone: In which instants are shown.
        as_bytes: Whether it is a binary tensor.
        as_json: Whether each row is one JSON text.

    Raises:
        ValueError: it cannot be written so.
    """
    told: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": [len(values)]}
    parameters: dict[str, Any] = {}
    datatype, data = tensor.datatype, values
    if as_json or is_text(values.type):
        datatype = told["datatype"] = BYTES
        parameters["content_type"] = "json"
        data = _json_texts(values, time_zone, as_json)
    else:
        for _ in range(depth_of(values.type)):
            data, axis = _unfolded(data)
            told["shape"].append(axis)
    raw = b""
    if as_bytes:
        raw = packed_bytes(_raw(data, time_zone)) if datatype == BYTES else packed(data, datatype)
        parameters["binary_data_size"] = len(raw)
    elif any(holds(data.type) for holds in _BINARIES):
        parameters["content_type"] = "base64"
        told["data"] = [None if one is None else base64.b64encode(one).decode() for one in data.to_pylist()]
    else:
        told["data"] = json_values.ready(pa.chunked_array([data]), time_zone)
    if parameters:
        told["parameters"] = parameters
    return told, raw


def _json_texts(values: pa.Array, time_zone: str, with_null: bool) -> pa.Array:
    rows = json_values.ready(pa.chunked_array([values]), time_zone)
    return pa.array([None if row is None and not with_null else _dumped(row) for row in rows], pa.string())


def _dumped(row: Any) -> str:
    return orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS).decode()


def _unfolded(values: pa.Array) -> tuple[pa.Array, int]:
    """The items of lists of one length, and this length.

    Raises:
        ValueError: there are several lengths, or a list is NULL.
    """
    assert is_list(values.type)
    lengths = pa.compute.list_value_length(values).unique().to_pylist()
    if values.null_count or len(lengths) > 1:
        raise ValueError("its rows have lists of several lengths, or NULLs, which are no tensor")
    return values.flatten(), lengths[0] if lengths else 0


def _raw(values: pa.Array, time_zone: str) -> list[bytes | None]:
    if any(holds(values.type) for holds in (*_TEXTS, *_BINARIES)):
        raw: list[bytes | None] = values.cast(pa.large_binary()).to_pylist()
        return raw
    return [
        None if one is None else str(one).encode() for one in json_values.ready(pa.chunked_array([values]), time_zone)
    ]
