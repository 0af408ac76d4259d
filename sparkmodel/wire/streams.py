# SPDX-License-Identifier: Apache-2.0
"""What a stream of batches is opened with."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

from sparkmodel.wire import protocol as p
from sparkmodel.wire.handle import NO_OPTIONS, CallOptions


@dataclasses.dataclass(frozen=True)
class StreamKey:
    """What a stream is opened with; two calls with equal keys can share one opened connection.

    Attributes:
        schema: Of the batches.
        by_name: Whether column names mean anything.
        call: What was asked for, and the query that the batches belong to.
        pin: The version that the query is held to, None where any may answer.
        digest: What the caller's plan rests on; empty where nothing is known.
    """

    schema: pa.Schema
    by_name: bool
    call: CallOptions = NO_OPTIONS
    pin: int | None = None
    digest: str = ""

    def to_json(self) -> bytes:
        """The payload of an open request."""
        whose = {"query": self.call.query, "source": self.call.source}
        told = {key: value for key, value in whose.items() if value}
        return p.to_json({**self._meaning(), **told, "pin": self.pin})

    def known_by(self) -> bytes:
        """What makes equal batches mean the same, whatever query they belong to and whoever calls."""
        return p.to_json(self._meaning())

    def _meaning(self) -> dict[str, Any]:
        return {
            **self.call.to_dict(),
            **({"digest": self.digest} if self.digest else {}),
            "schema": p.schema_to_text(self.schema),
            "binding": "name" if self.by_name else "position",
        }
