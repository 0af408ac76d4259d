# SPDX-License-Identifier: Apache-2.0
"""Rows and predictions as Arrow IPC streams, for programs: the same types as in SQL, and no text between."""

from __future__ import annotations

import asyncio
import functools
import struct
from typing import Any

import pyarrow as pa
import pyarrow.compute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sparkmodel.errors import MalformedRequestError, UnsupportedMediaTypeError
from sparkmodel.rest.asked import Asked, Context, Scored, Served
from sparkmodel.rest.bodies import read_body
from sparkmodel.rest.flow import route, version_of
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.settings import Settings
from sparkmodel.schema import is_list
from sparkmodel.wire.messages import refuse_bomb, refuse_views, storage_of

ARROW_STREAM = "application/vnd.apache.arrow.stream"
_WHAT = "Cannot read the request"
_LONG_BYTES = 1 << 16
_SPECIAL = (pa.types.is_dictionary, lambda type_: isinstance(type_, pa.BaseExtensionType))
_LONG = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
_ERRORS = (ValueError, TypeError, OSError, EOFError, struct.error, pa.ArrowException)


def routes(gateway: Gateway) -> list[Route]:
    """The routes."""

    async def predict(request: Request, context: Context) -> Response:
        return await answer_arrow(gateway, request, context)

    paths = ("/models/{name}/predict", "/models/{name}/versions/{version}/predict")
    return [route(gateway, "arrow", path, predict) for path in paths]


def is_arrow(request: Request) -> bool:
    """Whether a request's body is said to be an Arrow IPC stream."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == ARROW_STREAM


async def answer_arrow(gateway: Gateway, request: Request, context: Context) -> Response:
    """The answer to a request whose body is an Arrow IPC stream: one with the column `prediction`.

    Raises:
        UnsupportedMediaTypeError: its body is said to be something else.
        MalformedRequestError: its body is no such stream, or becomes much more than it is.
    """
    if not is_arrow(request):
        raise UnsupportedMediaTypeError(_WHAT, "its Content-Type is another", f"send {ARROW_STREAM}")
    version = version_of(request)
    served = await gateway.find(context, request.path_params.get("name"), version)
    body = await read_body(request, gateway.settings)
    reading = functools.partial(_read, served, body, gateway.settings, version)
    asked = await asyncio.to_thread(reading) if len(body) > _LONG_BYTES else reading()
    scored = await gateway.score(context, served, asked)
    writing = functools.partial(_written, scored)
    content = await asyncio.to_thread(writing) if scored.values.nbytes > _LONG_BYTES else writing()
    return Response(content, media_type=ARROW_STREAM)


def table_of(body: bytes, settings: Settings) -> pa.Table:
    """The rows of an Arrow IPC stream, in types that models take: of dictionaries and extension types what they hold.

    Raises:
        MalformedRequestError: it is no such stream, or becomes much more than it is.
    """
    try:
        for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
            if message.type != "schema":
                refuse_bomb(message.serialize())
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            storage_of(reader.schema)  # refuses what a few bytes of could be very much
            batches = [_plain(batch, settings) for batch in reader]
            schema = batches[0].schema if batches else _plain(_empty(reader.schema), settings).schema
        return pa.Table.from_batches(batches, schema)
    except _ERRORS as error:
        raise MalformedRequestError(
            _WHAT, f"it is no Arrow stream that can be read: {error}", "write it without compression of its buffers"
        ) from error


def _plain(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    batch.validate(full=True)
    columns = [_column(column, settings.max_body_bytes) for column in batch.columns]
    fields = [pa.field(name, column.type) for name, column in zip(batch.schema.names, columns, strict=True)]
    plain = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    refuse_views(plain)
    return plain


def _column(array: pa.Array, most: int) -> pa.Array:
    while any(holds(array.type) for holds in _SPECIAL):
        array = _decoded(array, most) if pa.types.is_dictionary(array.type) else array.storage
    if _has_special(array.type):
        raise ValueError(f"a column of type {array.type} cannot be sent")
    return array


def _decoded(array: pa.DictionaryArray, most: int) -> pa.Array:
    """The values, unless one long text is there so often that they would be too many bytes."""
    values = array.dictionary
    is_view = pa.types.is_string_view(values.type) or pa.types.is_binary_view(values.type)
    if pa.types.is_nested(values.type) or is_view or any(holds(values.type) for holds in _SPECIAL):
        raise ValueError(f"a column of type {array.type} cannot be sent")
    longest = 16
    if any(holds(values.type) for holds in _LONG):
        longest = max(longest, pa.compute.max(pa.compute.binary_length(values)).as_py() or 0)
    if longest * len(array) > 4 * most:
        raise ValueError(f"a dictionary with a value of {longest} bytes has {len(array)} rows: send plain values")
    return array.dictionary_decode()


def _has_special(type_: pa.DataType) -> bool:
    if any(holds(type_) for holds in _SPECIAL):
        return True
    return pa.types.is_nested(type_) and any(_has_special(type_.field(i).type) for i in range(type_.num_fields))


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _read(served: Served, body: bytes, settings: Settings, version: int | None) -> Asked:
    table = table_of(body, settings)
    is_matrix = served.spec.signature.inputs is None and table.num_columns == 1 and is_list(table.schema.field(0).type)
    return Asked(table=table, by_name=not is_matrix, version=version)


def _written(scored: Scored) -> Any:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_arrays([scored.values], names=["prediction"])
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
