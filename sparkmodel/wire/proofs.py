# SPDX-License-Identifier: Apache-2.0
"""How each side of a connection proves that it has the key, without showing it. docs/protocol.md, section 1.

A pool has one secret, which its supervisor, its master and its workers know. What travels in plans is a capability:
claims in the clear, and a key that is made of them and the secret. Who has the secret can make the key of any claims;
who has a key can prove just those.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import secrets
from typing import Any

NONCE_BYTES = 32
PREDICT = "predict"
_SERVER, _CLIENT, _KEY = (b"sparkmodel/3 " + part + b"\0" for part in (b"server", b"client", b"capability"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claims:
    """What a capability is good for.

    Attributes:
        pool: ID of the pool.
        scope: What may be done; `predict` is all there is.
        app: The application that it was made for; empty where it is not known.
        id: By which it is told from others, also in logs.
        exp: Seconds since 1970 until which a worker takes it; a master may renew it afterwards.
    """

    pool: str
    app: str
    id: str
    exp: int
    scope: str = PREDICT

    def to_text(self) -> str:
        """The claims as they travel; a proof is over these very bytes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> Claims:
        """The claims in a text.

        Raises:
            ValueError: it is not one.
        """
        value = json.loads(text)
        fields = {field.name for field in dataclasses.fields(Claims)}
        if not isinstance(value, dict) or set(value) != fields or not isinstance(value["exp"], int):
            raise ValueError("these are no claims")
        pool, app, id_, scope = (str(value[key]) for key in ("pool", "app", "id", "scope"))
        return Claims(pool=pool, app=app, id=id_, exp=value["exp"], scope=scope)


def nonce() -> bytes:
    """What makes a proof good for one connection only."""
    return secrets.token_bytes(NONCE_BYTES)


def key_of(secret: str, claims: str) -> bytes:
    """The key that belongs to claims."""
    return hmac.digest(secret.encode(), _KEY + claims.encode(), hashlib.sha256)


def servers_proof(key: bytes, client: bytes, server: bytes, claims: str) -> bytes:
    """What a server shows first: so nobody else learns anything of a client."""
    return hmac.digest(key, _SERVER + client + server + claims.encode(), hashlib.sha256)


def clients_proof(key: bytes, client: bytes, server: bytes, claims: str) -> bytes:
    """What a client shows then."""
    return hmac.digest(key, _CLIENT + client + server + claims.encode(), hashlib.sha256)


def is_same(shown: Any, expected: bytes) -> bool:
    """Whether a proof is right; takes as long whatever is wrong with it."""
    return isinstance(shown, bytes) and hmac.compare_digest(shown, expected)
