# SPDX-License-Identifier: Apache-2.0
"""Who is let in: the token that a request shows against the scope of what it asks for."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable

from starlette.requests import Request

from sparkmodel.errors import AccessRefusedError, TokenRequiredError
from sparkmodel.rest.tokens import Token, digest_of

_WHAT = "Cannot answer the request"


class Access:
    """The doors of one gateway.

    Without tokens for `predict`, or for `metrics`, these are open on loopback and closed elsewhere; `admin` always
    needs a token.

    Args:
        tokens: All that are good for something.
        host: Address that is bound.
    """

    def __init__(self, tokens: Iterable[Token] = (), *, host: str = "127.0.0.1") -> None:
        self._tokens = tuple(tokens)
        self._hosts = {host.lower(), "localhost", "127.0.0.1", "::1"} if is_loopback(host) else None
        guarded = {scope for token in self._tokens for scope in token.scopes} | {"admin"}
        self._open = {"predict", "metrics"} - guarded if self._hosts is not None else set()

    def check_host(self, host: str) -> None:
        """On loopback: whether a request means this gateway by a name of the loopback interface.

        A page of elsewhere whose name its owner points to 127.0.0.1 could read answers otherwise.

        Raises:
            AccessRefusedError: it is for another host.
        """
        if self._hosts is None:
            return
        name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        if name.strip("[]").lower() not in self._hosts:
            raise AccessRefusedError(_WHAT, "its Host header names another host", "ask localhost")

    def check(self, request: Request, scope: str | None) -> Token | None:
        """The token that a request shows, if it is good for a scope; None where none is needed.

        Raises:
            TokenRequiredError: it shows none.
            AccessRefusedError: it shows one that is not known, or not for this scope.
        """
        if scope is None:
            return None
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not text.strip():
            if scope in self._open:
                return None
            raise TokenRequiredError(_WHAT, "it shows no token", "send `Authorization: Bearer <token>`")
        token = self._known(text.strip())
        if token is None:
            if scope in self._open:  # clients that always send one
                return None
            raise AccessRefusedError(_WHAT, "its token is not known")
        if not token.scopes & {scope, "admin"}:
            if scope in self._open:
                return token
            raise AccessRefusedError(_WHAT, f"its token is not good for scope '{scope}'")
        return token

    def _known(self, text: str) -> Token | None:
        digest, found = digest_of(text), None
        for token in self._tokens:  # all of them, whichever it is
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found


def check_model(may_call: frozenset[str] | None, name: str) -> None:
    """Whether who shows a token that is good for some models may call this one.

    Raises:
        AccessRefusedError: it may not; whether there is such a model is not told.
    """
    if may_call is not None and name not in may_call:
        raise AccessRefusedError(f"Cannot call model '{name}'", "the token is not good for it")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
