# SPDX-License-Identifier: Apache-2.0
"""What callers of a pool are let in by: made, refused once they have expired, and renewed for who is attended."""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sparkmodel.errors import AuthenticationError, CredentialExpiredError, InvalidOptionError
from sparkmodel.wire import proofs
from sparkmodel.wire.greeting import HINT, to_text
from sparkmodel.wire.handle import Credential

TTL_S = 86_400.0
VARIABLE = "SPARKMODEL_TOKEN_TTL_S"

Admit = Callable[[proofs.Claims, str], Credential | None]  # claims that were proved, and what errors name


def ttl_s(environment: Mapping[str, str] = os.environ) -> float:
    """For how many seconds a capability is good: a day, unless SPARKMODEL_TOKEN_TTL_S says otherwise.

    Raises:
        InvalidOptionError: the variable is no number above 0.
    """
    text = environment.get(VARIABLE, "")
    try:
        seconds = float(text) if text else TTL_S
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidOptionError(f"Cannot use {VARIABLE}='{text}'", "it is no number of seconds above 0")
    return seconds


def issue(
    secret: str, pool: str, app: str, ttl: float, tls: str | None = None, clock: Callable[[], float] = time.time
) -> Credential:
    """A new capability.

    Args:
        secret: The pool's.
        pool: ID of the pool.
        app: Who it is for.
        ttl: Seconds until it expires.
        tls: The pool's certificate.
        clock: Gives the seconds since 1970.
    """
    claims = proofs.Claims(pool=pool, app=app, id=secrets.token_hex(8), exp=math.ceil(clock() + ttl))
    text = claims.to_text()
    return Credential(claims=text, key=to_text(proofs.key_of(secret, text)), tls=tls)


def expires(credential: Credential) -> float:
    """When it does, in seconds since 1970."""
    return proofs.Claims.from_text(credential.claims).exp


def renewed(credential: Credential, told: Any) -> Credential | None:
    """The credential that a master gives in the place of another, None if it gave none that can be read."""
    if not isinstance(told, Mapping) or not all(isinstance(told.get(key), str) for key in ("claims", "key")):
        return None
    return Credential(claims=told["claims"], key=told["key"], tls=credential.tls)


def admit(claims: proofs.Claims, what: str, now: float | None = None) -> None:
    """A worker's view of claims whose key was proved.

    Raises:
        CredentialExpiredError: their time is over.
        AuthenticationError: they are good for something else.
    """
    if claims.scope != proofs.PREDICT:
        raise AuthenticationError(what, f"what the caller shows is good for '{claims.scope}', not for calls", HINT)
    late_s = (time.time() if now is None else now) - claims.exp
    if late_s >= 0:
        raise CredentialExpiredError(what, f"what the caller shows expired {late_s:.0f} s ago", HINT)


class Renewals:
    """A master's view: it renews what has expired, or is half through, as long as somebody attends to its application.

    Args:
        secret: The pool's.
        ttl: Seconds that a renewed capability is good for.
        owner: The application with which the pool ends, which needs nobody to attend; empty where there is none.
        clock: Gives the seconds since 1970.
    """

    def __init__(self, secret: str, ttl: float, owner: str = "", clock: Callable[[], float] = time.time) -> None:
        self._secret, self._ttl, self._owner, self._clock = secret, ttl, owner, clock
        self._lock = threading.Lock()
        self._began = clock()  # a master before this one may have been told of others: they have as long again
        self._attended: dict[str, float] = {}

    def attend(self, app: str) -> None:
        """Somebody who may deploy and drop pools says that an application goes on."""
        now = self._clock()
        with self._lock:
            self._attended[app] = now
            self._attended = {app: when for app, when in self._attended.items() if now - when < 2 * self._ttl}

    def admit(self, claims: proofs.Claims, what: str) -> Credential | None:
        """What a caller may go on with, None if what it has is good for long enough.

        Raises:
            CredentialExpiredError: it has expired, and nobody attends to its application.
            AuthenticationError: it is good for something else.
        """
        now = self._clock()
        if claims.exp - now > self._ttl / 2 or not self._is_attended(claims.app, now):
            admit(claims, what, now)
            return None
        admit(claims, what, min(now, claims.exp - 1))  # all but the time
        return issue(self._secret, claims.pool, claims.app, self._ttl, clock=self._clock)

    def _is_attended(self, app: str, now: float) -> bool:
        with self._lock:
            return (app != "" and app == self._owner) or now - self._attended.get(app, self._began) < 2 * self._ttl
