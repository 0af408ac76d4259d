# SPDX-License-Identifier: Apache-2.0
"""The body of an inference request: its tensors, in JSON or as bytes behind it, and what is wanted of the answer."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sparkmodel.errors import MalformedRequestError, SchemaMismatchError, UnsupportedRequestError, suggest
from sparkmodel.rest import strict
from sparkmodel.rest.asked import Asked, Served
from sparkmodel.rest.oip.datatypes import ARROW, BYTES, Tensor, inputs_of, is_named, outputs_of
from sparkmodel.rest.oip.packed import unpacked
from sparkmodel.rest.oip.tensors import column, elements, flat
from sparkmodel.rest.settings import Settings

# parameters that are the protocol's, or its clients', and never a model's
_IGNORED = frozenset({"priority", "headers", "content_type", "binary_data_output", "timeout"})
_REFUSED = ("sequence_", "shared_memory_")
_TEXT, _BASE64 = "json", "base64"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """An output that is wanted, and how: as a binary tensor, or with a JSON text for each row."""

    tensor: Tensor
    as_bytes: bool = False
    as_json: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inference:
    """An inference request.

    Attributes:
        asked: Its rows.
        wishes: The outputs that are wanted.
        id: As the caller named it; None if it did not.
        timeout_s: Seconds that it may take; None if it does not say.
    """

    asked: Asked
    wishes: tuple[Wish, ...]
    id: str | None = None
    timeout_s: float | None = None


def read(served: Served, body: bytes, header_length: str | None, settings: Settings, version: int | None) -> Inference:
    """What a body asks for.

    Args:
        served: The model.
        body: JSON, and bytes behind it if `header_length` says so.
        header_length: Value of `Inference-Header-Content-Length`.
        settings: Limits.
        version: Which one is asked.

    Raises:
        MalformedRequestError: it is no such request.
        SchemaMismatchError: its tensors are not what the model takes.
    """
    told, rest = _parts(body, header_length, settings)
    request = strict.loads(told, settings)
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise _malformed("its body is no object with a list of 'inputs'")
    id_ = request.get("id")
    if id_ is not None and not isinstance(id_, str):
        raise _malformed("its 'id' is no text")
    parameters = _parameters(request, "the request")
    table, by_name = _Reader(served, settings, rest).table(request["inputs"])
    asked = Asked(table=table, by_name=by_name, params=_params(parameters), version=version)
    wishes = _wishes(served, request.get("outputs"), _flag(parameters, "binary_data_output"))
    return Inference(asked=asked, wishes=wishes, id=id_, timeout_s=_timeout(parameters))


def _parts(body: bytes, header_length: str | None, settings: Settings) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    is_number = header_length.isascii() and header_length.isdigit() and len(header_length) < 12
    length = int(header_length) if is_number else -1
    if not 0 < length <= len(body):
        raise _malformed(f"Inference-Header-Content-Length says {header_length}, the body has {len(body)} bytes")
    return body[:length], memoryview(body)[length:]


class _Reader:
    """Reads the inputs of one request."""

    def __init__(self, served: Served, settings: Settings, rest: memoryview) -> None:
        self._spec, self._settings, self._rest = served.spec, settings, rest
        self._what = f"Cannot score with '{served.name}'"
        self._known = inputs_of(served.spec)

    def table(self, inputs: list[Any]) -> tuple[pa.Table, bool]:
        """The columns, and whether their names bind them."""
        found: dict[str, pa.Array] = {}
        for one in inputs:
            name, array = self._input(one)
            if name in found:
                raise _malformed(f"input '{name}' is there twice")
            found[name] = array
        if len(self._rest):
            raise _malformed(f"{len(self._rest)} bytes behind the JSON belong to no input")
        rows = {len(array) for array in found.values()}
        if len(rows) > 1:
            raise _malformed(f"its inputs have different numbers of rows: {sorted(rows)[:5]}")
        if not found:
            raise SchemaMismatchError(self._what, "the request has no inputs", "send one tensor for each input")
        if self._known is None:
            is_matrix = len(found) == 1 and pa.types.is_list(next(iter(found.values())).type)
            return pa.table(found), not is_matrix
        missing = [one.name for one in self._known if one.required and one.name not in found]
        if missing:
            raise SchemaMismatchError(self._what, f"the inputs {missing} are missing", "send them too")
        ordered = {one.name: found[one.name] for one in self._known if one.name in found}
        return pa.table(ordered), is_named(self._spec)

    def _input(self, one: Any) -> tuple[str, pa.Array]:
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str):
            raise _malformed("an input is no object with a 'name'")
        wanted = self._wanted(name)
        datatype = one.get("datatype")
        if not isinstance(datatype, str) or datatype not in ARROW:
            raise _malformed(f"input '{name}' has no 'datatype' of {list(ARROW)}")
        shape = _shape(name, one.get("shape"))
        parameters = _parameters(one, f"input '{name}'")
        _refuse(parameters)
        try:
            given = self._elements(one, datatype, shape, parameters)
            return name, column(given, shape, datatype, wanted, self._spec.time_zone, self._settings)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise SchemaMismatchError(self._what, f"input '{name}' does not fit: {error}") from error

    def _wanted(self, name: str) -> Tensor:
        if self._known is None:
            return Tensor(name=name, datatype=BYTES, shape=(-1,), type=None)
        for one in self._known:
            if one.name == name:
                return one
        known = [one.name for one in self._known]
        raise SchemaMismatchError(self._what, f"the model has no input '{name}'", suggest(name, known))

    def _elements(self, one: Any, datatype: str, shape: tuple[int, ...], parameters: Mapping[str, Any]) -> pa.Array:
        size, data = parameters.get("binary_data_size"), one.get("data")
        if size is not None:
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(self._rest):
                raise ValueError(f"its binary_data_size is {size}, and {len(self._rest)} bytes are left of the body")
            if data is not None:
                raise ValueError("it has both 'data' and a binary_data_size")
            raw, self._rest = self._rest[:size], self._rest[size:]
            return unpacked(raw, datatype, math.prod(shape))
        if not isinstance(data, list):
            raise ValueError("it has no list 'data', and no binary_data_size")
        given = elements(flat(data, shape), datatype, self._spec.time_zone)
        if datatype == BYTES and parameters.get("content_type") == _BASE64:
            decoded = [None if text is None else base64.b64decode(text, validate=True) for text in given.to_pylist()]
            return pa.array(decoded, pa.binary())
        return given


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not shape or not all(type(axis) is int and axis >= 0 for axis in shape):
        raise _malformed(f"input '{name}' has no 'shape', which is a list of numbers of at least 0, rows first")
    if 0 in shape[1:] or len(shape) > 8:  # rows that have no elements cost their sender nothing
        raise _malformed(f"input '{name}' has the shape {shape[:9]}, which is of no elements, or of more than 8 axes")
    return tuple(shape)


def _wishes(served: Served, wanted: Any, as_bytes: bool) -> tuple[Wish, ...]:
    known = {tensor.name: tensor for tensor in outputs_of(served.handle.contract.result_type)}
    if wanted is None or wanted == []:
        return tuple(Wish(tensor=tensor, as_bytes=as_bytes) for tensor in known.values())
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise _malformed("its 'outputs' are no list of objects")
    wishes: dict[str, Wish] = {}
    for one in wanted:
        name = one.get("name")
        if not isinstance(name, str) or name not in known:
            hint = suggest(str(name)[:100], known)
            raise SchemaMismatchError(f"Cannot score with '{served.name}'", f"it has no output '{name}'", hint)
        if name in wishes:
            raise _malformed(f"output '{name}' is there twice")
        parameters = _parameters(one, f"output '{name}'")
        _refuse(parameters)
        if parameters.get("classification"):
            raise _unsupported("classification")
        wishes[name] = Wish(
            tensor=known[name],
            as_bytes=_flag(parameters, "binary_data", as_bytes),
            as_json=parameters.get("content_type") == _TEXT,
        )
    return tuple(wishes.values())


def _parameters(one: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = one.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict) or any(isinstance(each, dict | list) for each in parameters.values()):
        raise _malformed(f"the 'parameters' of {where} are no object of texts, numbers and booleans")
    return parameters


def _params(parameters: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Those that are the model's."""
    _refuse(parameters)
    return {
        name: value for name, value in parameters.items() if name not in _IGNORED and not name.startswith("triton_")
    } or None


def _refuse(parameters: Mapping[str, Any]) -> None:
    for name in parameters:
        if name.startswith(_REFUSED):
            raise _unsupported(name)


def _flag(parameters: Mapping[str, Any], name: str, otherwise: bool = False) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise _malformed(f"its parameter '{name}' is neither true nor false")
    return value


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    """Seconds; the parameter has microseconds, and 0 for none."""
    value = parameters.get("timeout")
    if value is None or value == 0:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 63:
        raise _malformed("its parameter 'timeout' is no number of microseconds")
    return value / 1e6


def _malformed(fact: str) -> MalformedRequestError:
    return MalformedRequestError("Cannot read the request", fact, "see docs/open-inference.md")


def _unsupported(name: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(
        "Cannot answer the request", f"'{name}' is of an extension that is not served", "leave it out"
    )
