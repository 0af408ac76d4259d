# SPDX-License-Identifier: Apache-2.0
"""What a keeper does for its driver. Ray is imported by what is imported here, so only the keeper may import this."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from sparkmodel.cluster import connection, head, pools, supervisors
from sparkmodel.errors import ModelNotFoundError, PoolGoneError
from sparkmodel.keeper.server import Server
from sparkmodel.spec import ModelSpec

Undo = Callable[[], object] | None
_AGAIN = 3  # exit code of a keeper whose Ray was replaced by another


class Commands:
    """The commands, by name.

    Args:
        server: Tells the driver when Ray is lost.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pools: dict[str, pools.Pool] = {}
        self._commands: Mapping[str, Callable[..., tuple[Any, Undo]]] = {
            "connect": self._connect,
            "warm": self._warm,
            "cpus": lambda: (pools.cpus(), None),
            "names": lambda: (pools.names(), None),
            "attend": lambda: (pools.attend(), None),
            "find": lambda name: (self._keep(pools.find(name)), None),
            "deploy": self._deploy,
            "pool": self._on_pool,
        }

    def run(self, command: str, arguments: list[Any], named: Mapping[str, Any]) -> tuple[Any, Undo]:
        """Run one; returns its value, and what takes it back."""
        return self._commands[command](*arguments, **named)

    def _connect(
        self, address: str, namespace: str, spares: int, options: Mapping[str, Any]
    ) -> tuple[pathlib.Path | None, Undo]:
        head.check(address)
        # what Ray prints is not for the user's session, unless somebody says so
        runtime = connection.connect(address, namespace, spares, **{"log_to_driver": False, **options})
        head.Head(self._server.lost, self._server.back, lambda: os._exit(_AGAIN))
        return (runtime.scratch.path if runtime.scratch else None), None

    def _warm(self) -> tuple[None, Undo]:
        supervisors.warm(connection.current())
        return None, None

    def _deploy(
        self,
        spec: ModelSpec,
        payload: bytes | None,
        progress: pools.Progress,
        directory: pathlib.Path | None,
    ) -> tuple[tuple[str, str], Undo]:
        pool = pools.deploy(spec, payload, progress, directory)
        return self._keep(pool), pool.drop

    def _on_pool(self, name: str, pool_id: str, method: str, *arguments: Any, **named: Any) -> tuple[Any, Undo]:
        pool = self._pools.get(pool_id) or self._found(name, pool_id)
        value = getattr(pool, method)(*arguments, **named)
        if method == "drop":
            self._pools.pop(pool_id, None)
        return value, None

    def _keep(self, pool: pools.Pool) -> tuple[str, str]:
        self._pools[pool.pool_id] = pool
        return pool.name, pool.pool_id

    def _found(self, name: str, pool_id: str) -> pools.Pool:
        try:
            pool: pools.Pool | None = pools.find(name)
        except ModelNotFoundError:
            pool = None
        if pool is None or pool.pool_id != pool_id:
            raise PoolGoneError(
                f"Cannot reach the pool of model '{name}'",
                "it has ended" if pool is None else "another pool has its name",
                "register the model again with sm.register",
            )
        self._keep(pool)
        return pool
