# SPDX-License-Identifier: Apache-2.0
"""The one actor that supervises the pools of a driver: a master for each, and the forks of its node."""

from __future__ import annotations

import os
import pathlib
import threading
from typing import Any

import ray

from sparkmodel.cluster import claims
from sparkmodel.cluster.answers import host, wrap
from sparkmodel.cluster.launch import RayLauncher
from sparkmodel.cluster.nodes import Nodes
from sparkmodel.cluster.payloads import put_again
from sparkmodel.errors import InvalidOptionError, PoolGoneError
from sparkmodel.loaders.successor import refreshed
from sparkmodel.pool.follower import Follower
from sparkmodel.pool.master import Master
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.server import Server
from sparkmodel.wire.service import Directory
from sparkmodel.wire.tls import Identity

_MOVES = 64  # deploys at a time; each waits for its workers in a thread of its own


class Ward:
    """One pool: its master, its follower, and the server that tells callers where the workers are."""

    def __init__(
        self, name: str, pool_id: str, token: str, address: str, launcher: RayLauncher, identity: Identity | None
    ) -> None:
        self.name, self.version, self.token, self.pool_id = name, 0, token, pool_id
        self.master = Master(name, launcher)
        self._server = Server(self, address, identity=identity)
        self._certificate = None if identity is None else identity.certificate
        self.follower = Follower(self.master, refreshed)
        for target in (self.master.run, self.follower.run):
            threading.Thread(target=target, name="sparkmodel-supervisor", daemon=True).start()

    @property
    def directory(self) -> Directory:
        """For the server, which tells callers where the workers are."""
        return self.master.directory

    def open(self, schema: Any, options: dict[str, Any]) -> Any:
        raise PoolGoneError(f"Cannot score with '{self.name}'", "a master does not score")

    def deploy(self, spec: ModelSpec, boxed: list[Any]) -> int:
        """Serve a new version."""
        if spec.options.tls != (self._certificate is not None):
            raise InvalidOptionError(
                "Cannot change option 'tls'",
                f"the pool of model '{self.name}' is serving {'without' if spec.options.tls else 'with'} it",
                "call sm.unregister first",
            )
        return self.master.deploy(spec, boxed)

    def describe(self) -> dict[str, Any]:
        """What a handle is made of."""
        current = self.master.current
        return {
            "spec": current.spec,
            "version": current.version,
            "pool_id": self.pool_id,
            "token": self.token,
            "tls": self._certificate,
            "master": self._server.endpoint,
            "directory": self.master.directory,
        }

    def stop(self) -> None:
        """End the workers and the server."""
        self.master.stop()
        self._server.close()


class SupervisorProcess:
    """Ray's skin over the masters of one driver's pools. It holds no model and sees no batch.

    Args:
        namespace: Of the pools' names.
        label: Its own name as an actor, which its reservations are named by too.
        scratch: Directory of a local Ray; empty on a cluster.
        spares: Processes that each node keeps ready.
    """

    def __init__(self, namespace: str, label: str, scratch: str, spares: int) -> None:
        self._namespace, self._label, self._address = namespace, label, host(scratch)
        self._nodes = Nodes(pathlib.Path(scratch) if scratch else None, self._address, spares)
        self._wards: dict[str, Ward] = {}

    def open(self, name: str, pool_id: str, token: str, identity: Identity | None) -> bool:
        """Make a pool, without workers yet; False if another one has the name."""
        if not claims.claim(self._namespace, self._entry(name, pool_id)):
            return False
        launcher = RayLauncher(name, token, self._nodes, f"{self._label}:{pool_id}", identity)
        self._wards[pool_id] = Ward(name, pool_id, token, self._address, launcher, identity)
        return True

    def deploy(self, pool_id: str, spec: ModelSpec, boxed: list[Any]) -> dict[str, Any]:
        if spec.options.detached:
            boxed = put_again(boxed)
        return wrap(lambda: self._ward(pool_id, spec.name).deploy(spec, boxed))

    def reconfigure(self, pool_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        return wrap(lambda: self._ward(pool_id).master.reconfigure(changes))

    def rollback(self, pool_id: str) -> dict[str, Any]:
        return wrap(lambda: self._ward(pool_id).master.rollback())

    def status(self, pool_id: str) -> dict[str, Any]:
        return wrap(lambda: self._ward(pool_id).master.status())

    def stats(self, pool_id: str) -> dict[str, Any]:
        def stats() -> dict[str, Any]:
            ward = self._ward(pool_id)
            return {**ward.master.stats(), "refresh_error": ward.follower.error}

        return wrap(stats)

    def describe(self, pool_id: str) -> dict[str, Any]:
        return wrap(lambda: self._ward(pool_id).describe())

    def spares(self) -> dict[str, Any]:
        """What is kept ready, by node."""
        return self._nodes.describe()

    def stop(self, pool_id: str) -> int:
        """End a pool, also one that is loading; returns how many are left."""
        ward = self._wards.pop(pool_id, None)
        if ward is not None:
            ward.stop()
            claims.release(self._namespace, self._entry(ward.name, pool_id))
        return len(self._wards)

    def pid(self) -> int:
        """Its process; the answer says that it is there."""
        return os.getpid()

    def close(self) -> None:
        """End all pools and all that is kept ready."""
        for pool_id in list(self._wards):
            self.stop(pool_id)
        self._nodes.close()

    def _entry(self, name: str, pool_id: str) -> claims.Entry:
        return claims.Entry(name, pool_id, self._label)

    def _ward(self, pool_id: str, name: str = "") -> Ward:
        try:
            return self._wards[pool_id]
        except KeyError:
            raise PoolGoneError(
                f"Cannot reach the pool of model '{name or pool_id}'",
                "it was dropped",
                "register the model again with sm.register",
            ) from None


_remote: Any = ray.remote  # Ray's stubs know neither actor options nor .options()
_in_group: Any = ray.method  # nor its decorators
for _name in ("deploy", "reconfigure", "rollback"):
    setattr(SupervisorProcess, _name, _in_group(concurrency_group="moves")(getattr(SupervisorProcess, _name)))
SupervisorActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=32, concurrency_groups={"moves": _MOVES})(
    SupervisorProcess
)
