# SPDX-License-Identifier: Apache-2.0
"""The picklable client of a pool: what a Spark task carries instead of the model."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pyarrow as pa

from sparkmodel.wire.service import Directory

MARKER = "sparkmodel.handle.v1"  # found in the pickled command of a UDF by the JVM bridge


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallOptions:
    """What one SQL function, or one call, asks for beyond what the pool was registered with.

    Attributes:
        params: JSON object of inference parameters, which take precedence over the registered ones; empty for none.
        on_error: `fail`, `null` or `struct`; None is as registered.
        time_zone: The session's; None is as registered.
    """

    params: str = ""
    on_error: str | None = None
    time_zone: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, of what was asked for only."""
        asked = {"on_error": self.on_error, "time_zone": self.time_zone}
        asked["params"] = json.loads(self.params) if self.params else None
        return {key: value for key, value in asked.items() if value is not None}


NO_OPTIONS = CallOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Handle:
    """Endpoints, token and limits of a pool.

    Attributes:
        name: The model's name.
        pool_id: Unique for each deployed pool, so that a new pool of an old name is not taken for the old one.
        token: Secret of the pool; not shown by `repr`.
        master: (host, port) where the newest directory is to be had when no known worker answers.
        directory: The endpoints when the handle was made; clients learn newer ones by themselves.
        result_type: Arrow type of one row's answer.
        max_in_flight: Batches sent and not answered, for each caller.
        max_retries: Times a batch may lose its worker and go to another.
        timeout_s: Longest time in the model for one batch.
        ready_timeout_s: Longest wait for a pool whose workers are all being replaced.
        call: What this handle's function asks for beyond that.
    """

    name: str
    pool_id: str
    token: str = dataclasses.field(repr=False)
    master: tuple[str, int]
    directory: Directory
    result_type: pa.DataType
    max_in_flight: int = 2
    max_retries: int = 3
    timeout_s: float = 60.0
    ready_timeout_s: float = 300.0
    call: CallOptions = NO_OPTIONS
    marker: str = dataclasses.field(default=MARKER, repr=False)
