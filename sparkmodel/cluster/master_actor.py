# SPDX-License-Identifier: Apache-2.0
"""Ray's skin over Master: one process that supervises a pool."""

from __future__ import annotations

import threading
from typing import Any

import ray

from sparkmodel.cluster.answers import host, wrap
from sparkmodel.cluster.launch import RayLauncher
from sparkmodel.errors import InvalidOptionError, PoolGoneError
from sparkmodel.loaders.successor import refreshed
from sparkmodel.pool.follower import Follower
from sparkmodel.pool.master import Master
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.server import Server
from sparkmodel.wire.service import Directory
from sparkmodel.wire.tls import Identity


class MasterProcess:
    """One process that supervises a pool. It holds no model and sees no batch."""

    def __init__(self, name: str, pool_id: str, token: str, scratch: str, identity: Identity | None) -> None:

        self.name, self.version, self.token, self._pool_id = name, 0, token, pool_id
        self._master = Master(name, RayLauncher(name, token, scratch, identity))
        self._server = Server(self, host(scratch), identity=identity)
        self._certificate = None if identity is None else identity.certificate
        follower = Follower(self._master, refreshed)
        for target in (self._master.run, follower.run):
            threading.Thread(target=target, name="sparkmodel-supervisor", daemon=True).start()
        self._follower = follower

    @property
    def directory(self) -> Directory:
        """For the server behind this actor, which tells callers where the workers are."""
        return self._master.directory

    def open(self, schema: Any, options: dict[str, Any]) -> Any:
        raise PoolGoneError(f"Cannot score with '{self.name}'", "a master does not score")

    def deploy(self, spec: ModelSpec, payload: list[Any]) -> dict[str, Any]:
        if spec.options.detached:  # put again by the master: what the driver put will be lost with the driver
            payload = [ref and ray.put(ray.get(ref)) for ref in payload]
        return wrap(self._deploy, spec, payload)

    def _deploy(self, spec: ModelSpec, payload: list[Any]) -> int:
        if spec.options.tls != (self._certificate is not None):
            raise InvalidOptionError(
                "Cannot change option 'tls'",
                f"the pool of model '{self.name}' is serving {'without' if spec.options.tls else 'with'} it",
                "call sm.unregister first",
            )
        return self._master.deploy(spec, payload)

    def reconfigure(self, changes: dict[str, Any]) -> dict[str, Any]:
        return wrap(self._master.reconfigure, changes)

    def rollback(self) -> dict[str, Any]:
        return wrap(self._master.rollback)

    def status(self) -> dict[str, Any]:
        return self._master.status()

    def stats(self) -> dict[str, Any]:
        return {**self._master.stats(), "refresh_error": self._follower.error}

    def describe(self) -> dict[str, Any]:
        """What a handle is made of."""
        return wrap(self._describe)

    def _describe(self) -> dict[str, Any]:
        return {
            "spec": self._master.current.spec,
            "version": self._master.current.version,
            "pool_id": self._pool_id,
            "token": self.token,
            "tls": self._certificate,
            "master": self._server.endpoint,
            "directory": self._master.directory,
        }

    def stop(self) -> None:
        self._master.stop()
        self._server.close()


_remote: Any = ray.remote  # Ray's stubs know neither actor options nor .options()
MasterActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=32)(MasterProcess)
