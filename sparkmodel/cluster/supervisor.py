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
from sparkmodel.cluster.claims import Entry
from sparkmodel.cluster.launch import RayLauncher
from sparkmodel.cluster.nodes import Nodes
from sparkmodel.cluster.payloads import put_again
from sparkmodel.errors import InvalidOptionError, PoolGoneError
from sparkmodel.loaders.successor import refreshed
from sparkmodel.pool.follower import Follower
from sparkmodel.pool.master import Master
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.server import Server
from sparkmodel.wire.directory import Directory
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
            "spec": current.described,
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

    def open(self, entry: Entry, token: str, identity: Identity | None) -> bool:
        """Make a pool, without workers yet; False if another one has the name."""
        if not claims.claim(self._namespace, entry):
            return False
        label = f"{entry.supervisor}:{entry.pool_id}"
        launcher = RayLauncher(entry.name, token, self._nodes, label, identity)
        self._wards[entry.pool_id] = Ward(entry.name, entry.pool_id, token, self._address, launcher, identity)
        return True

    def deploy(self, entry: Entry, spec: ModelSpec, boxed: list[Any]) -> dict[str, Any]:
        if spec.options.detached:
            boxed = put_again(boxed)
        return wrap(lambda: self._ward(entry).deploy(spec, boxed))

    def reconfigure(self, entry: Entry, changes: dict[str, Any]) -> dict[str, Any]:
        return wrap(lambda: self._ward(entry).master.reconfigure(changes))

    def rollback(self, entry: Entry) -> dict[str, Any]:
        return wrap(lambda: self._ward(entry).master.rollback())

    def status(self, entry: Entry) -> dict[str, Any]:
        return wrap(lambda: self._ward(entry).master.status())

    def stats(self, entry: Entry) -> dict[str, Any]:
        def stats() -> dict[str, Any]:
            ward = self._ward(entry)
            return {**ward.master.stats(), "refresh_error": ward.follower.error}

        return wrap(stats)

    def describe(self, entry: Entry) -> dict[str, Any]:
        return wrap(lambda: self._ward(entry).describe())

    def spares(self) -> dict[str, Any]:
        """What is kept ready, by node."""
        return self._nodes.describe()

    def stop(self, entry: Entry) -> int:
        """End a pool, also one that is loading; returns how many are left. Its name is free at once."""
        claims.release(self._namespace, entry)
        ward = self._wards.pop(entry.pool_id, None)
        if ward is not None:
            ward.stop()
        return len(self._wards)

    def pid(self) -> int:
        """Its process; the answer says that it is there."""
        return os.getpid()

    def close(self) -> None:
        """End all pools and all that is kept ready."""
        for ward in list(self._wards.values()):
            self.stop(Entry(ward.name, ward.pool_id, self._label))
        self._nodes.close()

    def _ward(self, entry: Entry) -> Ward:
        try:
            return self._wards[entry.pool_id]
        except KeyError:
            raise PoolGoneError(
                f"Cannot reach the pool of model '{entry.name}'",
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
