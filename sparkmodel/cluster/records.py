# SPDX-License-Identifier: Apache-2.0
"""What the next supervisor must know of each pool: in the key-value store of Ray's control service."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

from ray.experimental import internal_kv

from sparkmodel.wire.capabilities import TTL_S
from sparkmodel.wire.tls import Identity

_STORE = "sparkmodel.pools"  # not that of the names, which are listed by what they begin with


@dataclasses.dataclass(frozen=True)
class Deed:
    """What makes a pool itself, whatever it serves; callers know it by these.

    Attributes:
        name: The model's name.
        pool_id: Unique for each pool.
        token: The pool's secret.
        identity: What it serves TLS with, if at all.
        app: The application that it was made by.
        ttl_s: Seconds for which what callers are let in by is good.
        port: Where its master is reached; 0 before it was.
    """

    name: str
    pool_id: str
    token: str = dataclasses.field(repr=False)
    identity: Identity | None = dataclasses.field(default=None, repr=False)
    app: str = ""
    ttl_s: float = TTL_S
    port: int = 0


class Deeds:
    """The deeds and the records of the pools of one supervisor.

    Args:
        namespace: Of its name.
        supervisor: Its name.
    """

    def __init__(self, namespace: str, supervisor: str) -> None:
        self._prefix = f"{namespace}/{supervisor}/"

    def put(self, deed: Deed) -> None:
        """Write it, or write it anew."""
        _put(self._key("deed", deed.pool_id), pickle.dumps(deed))

    def all(self) -> list[Deed]:
        """Those of the pools that there are."""
        keys: Any = internal_kv._internal_kv_list(self._key("deed", ""), namespace=_STORE)
        values = [internal_kv._internal_kv_get(key, namespace=_STORE) for key in keys]
        return [pickle.loads(value) for value in values if value is not None]

    def record(self, pool_id: str) -> KeptRecord:
        """The record of one pool."""
        return KeptRecord(self._key("record", pool_id))

    def remove(self, pool_id: str) -> None:
        """The pool has ended."""
        for kind in ("deed", "record"):
            internal_kv._internal_kv_del(self._key(kind, pool_id), namespace=_STORE)

    def _key(self, kind: str, pool_id: str) -> bytes:
        return f"{self._prefix}{kind}/{pool_id}".encode()


class KeptRecord:
    """Fulfils `sparkmodel.pool.launcher.Store`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def save(self, record: bytes) -> None:
        _put(self._key, record)

    def load(self) -> bytes | None:
        value: bytes | None = internal_kv._internal_kv_get(self._key, namespace=_STORE)
        return value


def _put(key: bytes, value: bytes) -> None:
    internal_kv._internal_kv_put(key, value, overwrite=True, namespace=_STORE)
