# SPDX-License-Identifier: Apache-2.0
"""Pools with a real master and real workers, all in this process, as the admin routes have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from sparkmodel.cluster.common import name_taken
from sparkmodel.errors import ModelNotFoundError
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.client import forget
from sparkmodel.wire.handle import Handle
from tests.unit.pool.threads import Shipped
from tests.unit.pool.toys import RunningPool, spec_of


class MasterPool:
    """What `sparkmodel.keeper.pools.Pool` is, over a master of this process."""

    def __init__(self, pools: MasterPools, spec: ModelSpec, payload: bytes | None) -> None:
        self.running, self._pools, self.name = RunningPool(), pools, spec.name
        self.pool_id = f"toy-{spec.name}-{id(self)}"
        self.change(Intent(kind="replace", spec=spec), payload)
        self.running.supervise()

    def change(self, intent: Intent, payload: bytes | None = None, *_: Any) -> Applied:
        self._pools.before_change()
        return self.running.master.apply(intent, None if payload is None else Shipped(payload))

    def spec(self) -> tuple[ModelSpec, int]:
        return self.running.master.current.described, self.running.directory.version

    def handle(self) -> Handle:
        handle = self.running.client().handle
        return dataclasses.replace(handle, pool=dataclasses.replace(handle.pool, name=self.name, pool_id=self.pool_id))

    def stats(self) -> dict[str, Any]:
        return self.running.master.stats()

    def versions(self) -> list[dict[str, Any]]:
        return self.running.master.versions()

    def spares(self) -> dict[str, Any]:
        return {}

    def drop(self) -> None:
        self._pools.by_name.pop(self.name, None)
        forget(self.pool_id)
        self.running.close()


class MasterPools:
    """Stands where the gateway has `sparkmodel.keeper.pools`.

    Attributes:
        before_change: Called in the thread of each change.
    """

    name_taken = staticmethod(name_taken)
    Pool = MasterPool

    def __init__(self) -> None:
        self.by_name: dict[str, MasterPool] = {}
        self.before_change: Callable[[], None] = lambda: None

    def add(self, name: str, source: Any, **rest: Any) -> MasterPool:
        parts = {key: rest.pop(key) for key in ("comment", "example") if key in rest}
        spec, payload = spec_of(source, **rest)
        return self.deploy(dataclasses.replace(spec, name=name, **parts), payload.data)

    def deploy(self, spec: ModelSpec, payload: bytes | None, *_: Any) -> MasterPool:
        self.by_name[spec.name] = MasterPool(self, spec, payload)
        return self.by_name[spec.name]

    def find(self, name: str) -> MasterPool:
        if name not in self.by_name:
            raise ModelNotFoundError(f"Cannot find model '{name}'", "no such pool on this Ray cluster")
        return self.by_name[name]

    def names(self) -> list[str]:
        return sorted(self.by_name)

    def close(self) -> None:
        for pool in list(self.by_name.values()):
            pool.drop()
