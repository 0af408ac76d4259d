# SPDX-License-Identifier: Apache-2.0
"""The body of a request, read within its limits, and unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from sparkmodel.errors import (
    BatchTooLargeError,
    RequestIncompleteError,
    SchemaMismatchError,
    UnsupportedMediaTypeError,
)
from sparkmodel.rest.settings import Settings

Hold = Callable[[int], None]

_WHAT = "Cannot read the request"
_PACKED = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's `wbits`
_PIECE = 1 << 20


async def read_body(request: Request, settings: Settings) -> bytes:
    """The whole body, unpacked.

    Raises:
        BatchTooLargeError: it is longer than allowed.
        TooManyRequestsError: the bodies of all requests together are.
        UnsupportedMediaTypeError: it is packed in a way that is not read.
        SchemaMismatchError: it is not what its headers say.
        RequestIncompleteError: its sender left, or was too slow.
    """
    most, headers = settings.max_body_bytes, request.headers
    packed = [word for each in headers.get("content-encoding", "").split(",") if (word := each.strip().lower())]
    packed = [word for word in packed if word != "identity"]
    if len(packed) > 1 or not set(packed) <= _PACKED.keys():
        raise UnsupportedMediaTypeError(_WHAT, "its Content-Encoding is not known", "use gzip, deflate or none")
    length = headers.get("content-length")
    if length is not None and (not length.isdigit() or int(length) > most):
        raise _too_long(most)
    ticket = getattr(request.state, "ticket", None)  # what is open to all has none
    hold = _free if ticket is None else ticket.hold
    if length is not None:
        hold(int(length))
    body = await _read(request, most, hold if length is None else _free)
    if packed:
        body = _unpacked(body, _PACKED[packed[0]], most)
        hold(len(body))
    return body


async def _read(request: Request, most: int, hold: Hold) -> bytes:
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise _too_long(most)
            hold(len(part))
            parts.append(part)
    except ClientDisconnect:
        raise RequestIncompleteError(_WHAT, "its sender left, or was too slow") from None
    return b"".join(parts)


def _unpacked(body: bytes, bits: int, most: int) -> bytes:
    """The body, unpacked as far as is allowed: a few bytes can become gigabytes."""
    unpacker, parts, size = zlib.decompressobj(bits), [], 0
    try:
        while body and not unpacker.eof:
            parts.append(unpacker.decompress(body, _PIECE))
            size += len(parts[-1])
            if size > most:
                raise _too_long(most)
            body = unpacker.unconsumed_tail
    except zlib.error:
        raise SchemaMismatchError(_WHAT, "its body is not packed as its Content-Encoding says") from None
    if not unpacker.eof or unpacker.unused_data:
        raise SchemaMismatchError(_WHAT, "its packed body is cut short, or goes on after its end")
    return b"".join(parts)


def _too_long(most: int) -> BatchTooLargeError:
    return BatchTooLargeError(_WHAT, f"its body is longer than {most} bytes", "send fewer rows")


def _free(size: int) -> None:
    """Nobody counts what is read."""
