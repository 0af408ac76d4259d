# SPDX-License-Identifier: Apache-2.0
"""Callers of a server over HTTP that keep their connections, each with one request at a time, in one event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import urllib.parse

import numpy as np
import uvloop

_AGAIN_S = 0.01  # a caller that is refused for now waits, and that counts


@dataclasses.dataclass(frozen=True)
class Load:
    """What came of it.

    Attributes:
        rate: Answered requests a second.
        p50_ms, p99_ms, p999_ms: Of the time that one took, in milliseconds.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


def load(url: str, body: bytes, connections: int, seconds: float) -> Load:
    """Post a body again and again.

    Args:
        url: Where to.
        body: JSON.
        connections: How many callers there are.
        seconds: How long they go on.

    Raises:
        RuntimeError: an answer was neither 200 nor 429.
    """
    return uvloop.run(_load(url, body, connections, seconds))


async def _load(url: str, body: bytes, connections: int, seconds: float) -> Load:
    at = urllib.parse.urlsplit(url)
    head = f"POST {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    started = time.perf_counter()

    async def call() -> list[float]:
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        taken: list[float] = []
        while (now := time.perf_counter()) < started + seconds:
            while True:
                writer.write(request)
                answer = await reader.readuntil(b"\r\n\r\n")
                text = await _body(reader, answer.lower())
                if not answer.startswith(b"HTTP/1.1 429"):
                    break
                await asyncio.sleep(_AGAIN_S)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{url} answered {answer!r} {text!r}")
            taken.append(time.perf_counter() - now)
        writer.close()
        return taken

    taken = np.concatenate(await asyncio.gather(*(call() for _ in range(connections)))) * 1e3
    rate = len(taken) / (time.perf_counter() - started)
    return Load(rate, *(float(np.percentile(taken, percent)) for percent in (50, 99, 99.9)))


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """What comes behind the head of an answer: Ray Serve's proxy sends it in chunks."""
    _, sized, rest = head.partition(b"content-length:")
    if sized:
        return await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size + 2))
    await reader.readline()
    return b"".join(parts)
