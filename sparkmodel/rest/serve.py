# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel.serve`: how a gateway is started. No Spark and no Ray are imported here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from sparkmodel.errors import InvalidOptionError
from sparkmodel.keeper import connection
from sparkmodel.rest import pauses
from sparkmodel.rest import tokens as tokens_
from sparkmodel.rest.access import is_loopback
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings


def serve(
    host: str = "127.0.0.1",
    port: int = 5001,
    block: bool = True,
    *,
    address: str | None = None,
    namespace: str = connection.NAMESPACE,
    model: str | None = None,
    tokens: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Server:
    """Serve the registered models over HTTP, by name.

    Args:
        host: Address to bind. Beyond loopback it needs tokens, and TLS or `insecure=True`.
        port: Port to bind; 0 takes a free one.
        block: Whether to return only when it has ended, by Ctrl-C or SIGTERM; else it serves from a thread.
        address: Ray's address, if this process is not connected yet; None is as in `sparkmodel.init`.
        namespace: Ray namespace of the models' names.
        model: What `/invocations` calls; None where only one model is served.
        tokens: File with tokens (docs/rest.md); more may be in SPARKMODEL_TOKENS and SPARKMODEL_TOKEN.
        settings: More, as in `sparkmodel.rest.settings.Settings`: `tls_cert`, `tls_key`, `insecure`, `docs`, `console`,
            `hedge`, `record`, `record_sample`, `timeout_s`, `max_body_bytes`, `per_s`, `concurrent` and others.

    Returns:
        The server; `close()`, or the end of a `with` block, ends it.

    Raises:
        InvalidOptionError: a setting is wrong, the port is taken, or others could reach it without a token or TLS.
        RayUnavailableError: Ray cannot be reached.
    """
    try:
        settled = Settings(host=host, port=port, only=model, **settings)
    except TypeError as error:
        raise InvalidOptionError("Cannot serve", str(error).partition(" ")[2], "see docs/rest.md") from None
    known = (*(tokens_.read(tokens) if tokens is not None else ()), *tokens_.from_environment())
    check_doors(settled, known)
    token, text = tokens_.made("local", "admin")
    # the token that is made is good on this machine alone: it is read from a file of its user
    is_local = is_loopback(host) or not any("admin" in one.scopes for one in known)
    server = Server(make_app(Gateway(settled, (*known, token) if is_local else known)), settled)
    try:
        connection.ensure(address, namespace)
        server.start()
        if is_local:
            server.announce(text)
    except BaseException:
        server.close()
        raise
    if block:
        print(f"sparkmodel serves at {server.url}", flush=True)
        pauses.shorten()
        server.wait()
    return server


def check_doors(settings: Settings, tokens: Iterable[tokens_.Token]) -> None:
    """Whether others may reach a gateway with these settings.

    Raises:
        InvalidOptionError: they could without a token, or read what goes over the network.
    """
    what = f"Cannot serve at '{settings.host}'"
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise InvalidOptionError(what, "TLS needs a certificate and its key", "give both tls_cert and tls_key")
    if is_loopback(settings.host):
        return
    if not any(one.scopes & {"predict", "admin"} for one in tokens):
        raise InvalidOptionError(
            what, "others can reach it, and no token is set", "give tokens, or bind 127.0.0.1 (docs/rest.md)"
        )
    if settings.tls_cert is None and not settings.insecure:
        raise InvalidOptionError(
            what,
            "tokens and rows would go over the network in the clear",
            "give tls_cert and tls_key, or insecure=True behind a proxy that has TLS",
        )
