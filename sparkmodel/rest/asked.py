# SPDX-License-Identifier: Apache-2.0
"""What a request asks for, and what comes of it, whatever protocol it speaks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sparkmodel.spec import ModelSpec
from sparkmodel.wire.handle import Handle


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """A model as it is served now.

    Attributes:
        handle: Client of its pool.
        spec: What is served.
        version: Number of what new calls get, but for a canary's share.
        versions: Numbers of all that have workers, a canary's too.
    """

    handle: Handle
    spec: ModelSpec
    version: int
    versions: tuple[int, ...]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name

    @functools.cached_property
    def caller(self) -> Handle:
        """Its client for calls of a gateway that say nothing else."""
        return self.handle.calling(source="rest")

    @property
    def workers(self) -> int:
        """Number of its workers; 1 of one that rests, for who asks for it first."""
        return sum(len(one.endpoints) for one in self.handle.pool.directory.served) or 1

    @functools.cached_property
    def calls(self) -> int:
        """Calls that its workers make at once."""
        return self.workers * self.spec.options.max_concurrency

    @functools.cached_property
    def most(self) -> int:
        """Batches that its workers have at once, with those that wait there."""
        return self.calls + self.workers * self.spec.options.max_queued


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """The rows of one request, as a protocol has read them.

    Attributes:
        table: The columns; tensors are lists of lists, one row along the first axis.
        by_name: Whether the columns' names bind them to the signature's inputs, else their order does.
        params: Inference parameters, over those of the registration.
        version: Which version is to answer; None leaves it to the pool, a canary's share included.
    """

    table: pa.Table
    by_name: bool = True
    params: Mapping[str, Any] | None = None
    version: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """The predictions for one request.

    Attributes:
        values: One for each row, of the type that the model's signature, or its registration, names.
        version: Number of what answered.
        queue_s: Seconds that its batches waited in workers, together.
        predict_s: Seconds that they were in the model, together.
        transfer_s: Seconds of the way between gateway and workers, together.
        wait_s: Seconds that they waited in the gateway for their turn to be sent.
        retries: Times that a worker was lost on the way.
        hedged: Whether it was sent to a second worker.
    """

    values: pa.ChunkedArray
    version: int
    queue_s: float = 0.0
    predict_s: float = 0.0
    transfer_s: float = 0.0
    wait_s: float = 0.0
    retries: int = 0
    hedged: bool = False


@dataclasses.dataclass(kw_only=True)
class Context:
    """One request on its way through the gateway; filled in as it goes, and told to who counts and records.

    Attributes:
        request_id: From `X-Request-Id`, or made.
        protocol: `mlflow`, `oip`, `tensorflow`, `arrow` or `admin`.
        path: Of the route, with its placeholders.
        principal: Name of the token that was shown; empty for none.
        may_call: Names of the models that the token is good for; None for all.
        started: When the request came, by the monotonic clock.
        deadline: When its answer is of no use any more, by the monotonic clock; None without one.
        trace: W3C `traceparent` that came with it.
        served: The model, once it is found.
        model: Its name.
        rows: Of the request.
        scored: What came of it.
        version: Number of the model's version that answers, or would have, once it is known.
        condition: Of the error, if there was one.
        status: HTTP status of the answer.
        asked: What was asked, for who records inputs.
        streaming: Whether its answer is a stream, which tells of it at its end.
    """

    request_id: str
    protocol: str = ""
    path: str = ""
    principal: str = ""
    may_call: frozenset[str] | None = None
    started: float = 0.0
    deadline: float | None = None
    trace: str = ""
    served: Served | None = None
    model: str = ""
    rows: int = 0
    scored: Scored | None = None
    version: int = 0
    condition: str = ""
    status: int = 200
    asked: Asked | None = None
    streaming: bool = False
