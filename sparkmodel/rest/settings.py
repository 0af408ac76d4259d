# SPDX-License-Identifier: Apache-2.0
"""How a gateway serves, settled once before it starts."""

from __future__ import annotations

import dataclasses

from sparkmodel import targets
from sparkmodel.errors import InvalidOptionError

MAX_BODY_BYTES = 1 << 26  # as Triton's
MAX_JSON_DEPTH = 100  # as Triton's


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How a gateway serves.

    Attributes:
        host: Address to bind.
        port: Port to bind; 0 takes a free one.
        only: Model that `/invocations` calls; None where it is the only one that is served.
        docs: Whether `/docs` and `/openapi.json` are served.
        console: Whether the console is served.
        max_body_bytes: Longest body of a request, also when it is decompressed.
        max_json_depth: Deepest nesting of JSON.
        timeout_s: Deadline of a call that brings none of its own; None is the pool's `timeout_s`.
        hedge: Whether a call that takes longer than most is sent to a second worker too.
        allow_sources: What may be registered through REST beside an MLflow registry's models: directories, whose
            models and files are taken, URIs to begin with, and `python:` for import paths.
        nan: What NaN and infinities are in JSON answers: `null`, or `literal` as MLflow's server writes them.
        tls_cert: File with the certificate; with it and its key answers are encrypted.
        tls_key: File with its key.
        record: Where each request for predictions is recorded, as the option of pools; None is where its model says.
        record_sample: Share of the requests whose first rows are recorded, from 0 to 1, where `record` is given.
        insecure: Whether it may listen beyond loopback without TLS, as behind a proxy that has it.
        debug: Whether errors tell what a model's exception said, which may be what it was given.
        max_under_way: Requests of all callers at once.
        max_held_bytes: Bytes of their bodies.
        per_s: Requests per second of a caller whose token does not say; None without limit.
        concurrent: Requests at once of a caller whose token does not say; None without limit.
        head_s: Longest time that a connection takes to send the head of a request.
        body_s: Longest time that its body takes, and a second more for each 16 KiB of it.
        idle_s: Time after which a connection that says nothing is closed.
    """

    host: str = "127.0.0.1"
    port: int = 5001
    only: str | None = None
    docs: bool = False
    console: bool = True
    max_body_bytes: int = MAX_BODY_BYTES
    max_json_depth: int = MAX_JSON_DEPTH
    timeout_s: float | None = None
    hedge: bool = False
    nan: str = "null"
    allow_sources: tuple[str, ...] = ()
    tls_cert: str | None = None
    tls_key: str | None = None
    record: str | None = None
    record_sample: float = 0.0
    insecure: bool = False
    debug: bool = False
    max_under_way: int = 2048
    max_held_bytes: int = 1 << 29
    per_s: float | None = None
    concurrent: int | None = None
    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0

    def __post_init__(self) -> None:
        if not 0 <= self.record_sample <= 1:
            raise InvalidOptionError("Cannot serve", f"record_sample={self.record_sample} is not from 0 to 1")
        if self.record is not None:
            targets.check(self.record)
        elif self.record_sample:
            raise InvalidOptionError("Cannot serve", "record_sample is given without record", "give record too")
