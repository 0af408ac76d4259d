# SPDX-License-Identifier: Apache-2.0
"""How a gateway serves, settled once before it starts."""

from __future__ import annotations

import dataclasses

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
        insecure: Whether it may listen beyond loopback without TLS, as behind a proxy that has it.
        debug: Whether errors tell what a model's exception said, which may be what it was given.
        max_under_way: Requests of all callers at once.
        max_held_bytes: Bytes of their bodies.
        per_s: Requests per second of a caller whose token does not say; None without limit.
        concurrent: Requests at once of a caller whose token does not say; None without limit.
        head_s: Longest time that a connection takes to send the head of a request.
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
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure: bool = False
    debug: bool = False
    max_under_way: int = 2048
    max_held_bytes: int = 1 << 29
    per_s: float | None = None
    concurrent: int | None = None
    head_s: float = 10.0
    idle_s: float = 75.0
    allow_sources: tuple[str, ...] = ()
