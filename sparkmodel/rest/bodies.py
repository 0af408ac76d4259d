# SPDX-License-Identifier: Apache-2.0
"""The body of a request, read within its limits."""

from __future__ import annotations

from starlette.requests import Request

from sparkmodel.errors import BatchTooLargeError
from sparkmodel.rest.settings import Settings


async def read_body(request: Request, settings: Settings) -> bytes:
    """The whole body.

    Raises:
        BatchTooLargeError: it is longer than allowed.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > settings.max_body_bytes:
            raise BatchTooLargeError(
                "Cannot read the request", f"its body is longer than {settings.max_body_bytes} bytes", "send fewer rows"
            )
        parts.append(part)
    return b"".join(parts)
