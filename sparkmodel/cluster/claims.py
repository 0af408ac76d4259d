# SPDX-License-Identifier: Apache-2.0
"""Which pool has a name: in the key-value store of the Ray cluster, where one of two who want it at once gets it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import ray
from ray.experimental import internal_kv

from sparkmodel.cluster.answers import lives
from sparkmodel.cluster.graves import bury

_STORE = "sparkmodel"


@dataclasses.dataclass(frozen=True)
class Entry:
    """Who has a name.

    Attributes:
        name: The pool's.
        pool_id: Unique for each pool.
        supervisor: Name of the actor that it is at; Ray starts one that was killed again, under the same name.
    """

    name: str
    pool_id: str
    supervisor: str


def claim(namespace: str, entry: Entry) -> bool:
    """Take a name, or have it already; False if another pool that lives has it."""
    while not _put(namespace, entry):
        if _read(_key(namespace, entry.name)) == entry:
            return True
        other = find(namespace, entry.name)
        if other is not None:
            return False
    return True


def find(namespace: str, name: str) -> Entry | None:
    """Who has the name. Of a supervisor that has ended for good nothing is left: its pools ended with it."""
    entry = _read(_key(namespace, name))
    if entry is None:
        return None
    supervisor = supervisor_of(namespace, entry)
    if supervisor is None or not lives(supervisor.pid.remote()):
        bury(namespace, entry.supervisor)
        release(namespace, entry)
        return None
    return entry


def release(namespace: str, entry: Entry) -> None:
    """Give a name back, unless another pool has it by now."""
    key = _key(namespace, entry.name)
    if _read(key) == entry:
        internal_kv._internal_kv_del(key, namespace=_STORE)


def entries(namespace: str) -> Iterator[Entry]:
    """All names that are taken."""
    for key in internal_kv._internal_kv_list(_key(namespace, ""), namespace=_STORE):
        entry = _read(key)
        if entry is not None:
            yield entry


def supervisor_of(namespace: str, entry: Entry) -> Any:
    """The actor, None if it has ended."""
    try:
        return ray.get_actor(entry.supervisor, namespace=namespace)
    except ValueError:
        return None


def _put(namespace: str, entry: Entry) -> bool:
    value = json.dumps(dataclasses.asdict(entry)).encode()
    return not internal_kv._internal_kv_put(_key(namespace, entry.name), value, overwrite=False, namespace=_STORE)


def _read(key: bytes) -> Entry | None:
    value = internal_kv._internal_kv_get(key, namespace=_STORE)
    return None if value is None else Entry(**json.loads(value))


def _key(namespace: str, name: str) -> bytes:
    return f"{namespace}/{name}".encode()
