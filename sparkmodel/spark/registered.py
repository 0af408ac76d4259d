# SPDX-License-Identifier: Apache-2.0
"""The functions of models that the sessions of this process have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from pyspark.sql import SparkSession

from sparkmodel.wire.handle import Handle


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A function of a session: what it calls, and what the session's JVM has of it; None over Connect."""

    handle: Handle
    info: Any


_sessions: WeakKeyDictionary[SparkSession, dict[str, _Entry]] = WeakKeyDictionary()


def note(spark: SparkSession, name: str, handle: Handle) -> None:
    """Remember a function that was registered just now."""
    _sessions.setdefault(spark, {})[name] = _Entry(handle, _info(spark, name))


def forget(spark: SparkSession, name: str) -> None:
    """The function is gone."""
    _sessions.get(spark, {}).pop(name, None)


def is_ours(spark: SparkSession, name: str) -> bool:
    """Whether the name is that of a function of ours."""
    entry = _sessions.get(spark, {}).get(name)
    return entry is not None and not _is_replaced(spark, name, entry)


def is_anothers(spark: SparkSession, name: str, pool_id: str) -> bool:
    """Whether a function that was registered for one pool is another pool's now, or somebody else's."""
    entry = _sessions.get(spark, {}).get(name)
    return entry is not None and (entry.handle.pool.pool_id != pool_id or _is_replaced(spark, name, entry))


def of_pool(pool_id: str) -> Iterator[tuple[SparkSession, str, Handle]]:
    """The functions that call a pool, in the sessions that have not ended."""
    for spark, names in list(_sessions.items()):
        for name, entry in list(names.items()):
            is_its = entry.handle.pool.pool_id == pool_id
            if is_its and not is_stopped(spark) and not _is_replaced(spark, name, entry):
                yield spark, name, entry.handle


def is_stopped(spark: SparkSession) -> bool:
    """Whether a session, classic or Connect, has ended."""
    session: Any = spark
    if not hasattr(session, "_jsparkSession"):
        return bool(session.is_stopped)
    return session._sc._jsc is None or bool(session._jsparkSession.sparkContext().isStopped())


def _is_replaced(spark: SparkSession, name: str, entry: _Entry) -> bool:
    # somebody has dropped it, or registered a function by the same name; over Connect nobody can see it
    return entry.info is not None and entry.info != _info(spark, name)


def _info(spark: SparkSession, name: str) -> Any:
    """What the registry has under a name; each registration makes one that equals itself only."""
    session: Any = spark
    if not hasattr(session, "_jsparkSession"):
        return None
    found = session._jsparkSession.sessionState().catalog().lookupBuiltinOrTempFunction(name)
    return found.get() if found.isDefined() else None
