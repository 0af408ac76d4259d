# SPDX-License-Identifier: Apache-2.0
"""Models of an MLflow registry, called by their names: the first use deploys a pool, whose workers come and go.

The pool itself stays, without a process of its own: a query that was planned before its workers went finds them again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import re
import time
from typing import TYPE_CHECKING, Any

from sparkmodel.control.cards import card_of
from sparkmodel.control.locks import Locks
from sparkmodel.control.sql_options import Settings
from sparkmodel.errors import NameTakenError, PoolGoneError, PoolNotReadyError
from sparkmodel.registration.plan import make_spec, plan
from sparkmodel.registration.serve import find, serve
from sparkmodel.registration.settle import Asked
from sparkmodel.spark.ddl import parse_ddl

if TYPE_CHECKING:
    from sparkmodel.loaders.registry import Registry

_REFRESH_S = 30.0
_POLL_S = 0.2
_WORDS = 60  # characters of the pool's name that say which model it is


class Catalog:
    """Finds or deploys the pools of registered models.

    Args:
        locks: By name of a pool.
    """

    def __init__(self, locks: Locks) -> None:
        self._locks = locks

    def card(
        self,
        registry: Registry,
        model: str,
        *,
        version: int | None,
        alias: str | None,
        settings: Settings,
        idle_s: float,
    ) -> dict[str, Any]:
        """The pool of a version, an alias or the latest version, shared by all who ask this registry for it.

        Args:
            registry: Where the model is.
            model: Its name there.
            version, alias: At most one; without any, the latest version is followed.
            settings: Of the pool, if it is deployed now; it then follows what is not a version.
            idle_s: The pool's workers end when it was not called for so long, and come back with the next call; 0 keeps
                as many as the settings say.

        Raises:
            ModelNotFoundError: the registry has no such model, version or alias.
        """
        name = pool_name(registry.key, model, version, alias)
        with self._locks.of(name):
            deadline = time.monotonic() + settings.pool.ready_timeout_s
            while True:
                pool = find(name)
                if pool is None:
                    uri = registry.uri_of(model, version, alias)
                    self._serve(name, registry, uri, _at_rest(settings, idle_s), version is None)
                    continue
                try:
                    return card_of(pool)
                except (PoolGoneError, PoolNotReadyError):  # it ends, or another process has just begun to deploy it
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_POLL_S)

    def _serve(self, name: str, registry: Registry, uri: str, settings: Settings, is_moving: bool) -> None:
        pool = settings.pool
        if is_moving != (pool.refresh_s is not None):
            settings = settings.with_options({"refresh_s": _REFRESH_S if is_moving else None})
        make = functools.partial(
            make_spec,
            name,
            options=settings.pool,
            result_type=None if settings.result_type is None else parse_ddl(settings.result_type),
            params=settings.params,
            model_config=settings.model_config,
            method=settings.method,
        )
        tracking_uri, registry_uri = registry.uris
        asked = Asked(source=uri, tracking_uri=tracking_uri, registry_uri=registry_uri)
        # another process may have taken the name just now: it serves the same
        with contextlib.suppress(NameTakenError), plan(name, asked, make) as planned:
            serve(planned, progress=False)


def _at_rest(settings: Settings, idle_s: float) -> Settings:
    """The settings of a pool that has no workers while nobody calls it."""
    if idle_s <= 0:
        return settings
    options = dataclasses.replace(settings.pool, workers=(0, settings.pool.max_workers), idle_s=idle_s)
    return dataclasses.replace(settings, pool=options)


def pool_name(registry: str, model: str, version: int | None, alias: str | None) -> str:
    """The name of the pool of one model of one registry."""
    which = f"v{version}" if version is not None else alias or "latest"
    words = re.sub(r"[^A-Za-z0-9]+", "_", f"{model}_{which}")[:_WORDS].strip("_")
    key = hashlib.sha256(repr((registry, model, version, alias)).encode()).hexdigest()[:8]
    return f"mlflow_{words}_{key}"
