# SPDX-License-Identifier: Apache-2.0
"""Ray's skin over Worker and Master. The only module that says ray.remote.

Errors cross as values, not as exceptions: so they arrive as the class they left as, without Ray's wrapping.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import tempfile
import threading
from typing import Any

import ray

from sparkmodel import bundle
from sparkmodel.errors import InvalidOptionError, PoolGoneError, SparkModelError
from sparkmodel.loaders.threads import limit_imports, limit_loaded, limit_threads
from sparkmodel.pool.node_files import NodeFiles
from sparkmodel.pool.scratch import ROOT, Scratch
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.service import Directory
from sparkmodel.wire.tls import Identity

_HUNG = 70  # exit code of a worker whose model hangs: EX_SOFTWARE


def unwrap(answer: dict[str, Any]) -> Any:
    """The value that an actor's method gave, or the error that it gave instead, raised."""
    if "error" in answer:
        raise SparkModelError.from_dict(answer["error"])
    return answer["value"]


def _host(scratch: str) -> str:
    """Loopback on a Ray that the driver started for itself, which is the one with a scratch directory."""
    find_address: Any = ray.util.get_node_ip_address
    return "127.0.0.1" if scratch else str(find_address())


def _wrap(method: Any, *args: Any) -> dict[str, Any]:
    try:
        return {"value": method(*args)}
    except SparkModelError as error:
        return {"error": error.to_dict()}


class WorkerProcess:
    """One process that holds the model. It dies with its master."""

    def __init__(self, spec: ModelSpec, version: int, token: str, scratch: str, identity: Identity | None) -> None:
        # before numpy and the model's libraries are imported: they read it once
        self._threads = max(1, int(spec.options.num_cpus))
        theirs = {**(spec.options.runtime_env or {}).get("env_vars", {}), **(spec.options.extra_env or {})}
        os.environ.update({**limit_threads(self._threads), **theirs})
        limit_imports(self._threads)
        root = pathlib.Path(scratch) if scratch else ROOT
        self._scratch = Scratch(root)
        self._root, self._spec, self._token = root, spec, token
        self._files: NodeFiles | None = None
        tempfile.tempdir = str(self._scratch.path)  # MLflow downloads to it and never cleans up
        os.environ.setdefault("SPARK_LOCAL_DIRS", str(self._scratch.path))  # of the Spark that a Spark ML model starts
        from sparkmodel.pool.worker import Worker

        self._worker = Worker(
            spec,
            version=version,
            token=token,
            host=_host(scratch),
            identity=identity,
            on_hang=self._exit,
        )

    def start(self, payload: list[Any]) -> dict[str, Any]:
        """Load and serve. The payload comes in a list, so that Ray hands over references and not the bytes.

        Args:
            payload: A reference to the pickle or None, then references to lists of the pieces of shipped files.
        """
        return _wrap(self._start, payload)

    def _start(self, payload: list[Any]) -> tuple[str, int]:
        head, *files = payload or [None]
        data = None if head is None else memoryview(ray.get(head))
        if files:
            # nobody else on the node can know or foresee the name
            key = hashlib.sha256(f"{self._token}{self._spec.source.uri}".encode()).hexdigest()[:24]
            self._files = NodeFiles(self._root, key, lambda target: self._unpack(files, target))
        endpoint = self._worker.start(data, self._files.path if self._files else None)
        limit_loaded(self._threads)
        return endpoint

    def _unpack(self, files: list[Any], target: pathlib.Path) -> None:
        pieces = (piece for ref in files for piece in ray.get(ref))
        bundle.unpack(pieces, target, f"Cannot load model '{self._spec.name}' from '{self._spec.source.given}'")

    def publish(self, directory: Directory) -> None:
        self._worker.publish(directory)

    def stats(self) -> dict[str, Any]:
        return dataclasses.asdict(self._worker.stats())

    def close(self, drain_s: float) -> None:
        self._worker.close(drain_s)
        self._clean()

    def park(self) -> None:
        """Never return: the master waits on this call, and Ray ends it when the process dies."""
        threading.Event().wait()

    def _clean(self) -> None:
        if self._files is not None:
            self._files.release()
        self._scratch.remove()

    def _exit(self) -> None:
        self._clean()
        os._exit(_HUNG)


class MasterProcess:
    """One process that supervises a pool. It holds no model and sees no batch."""

    def __init__(self, name: str, pool_id: str, token: str, scratch: str, identity: Identity | None) -> None:
        from sparkmodel.loaders.successor import refreshed
        from sparkmodel.pool.follower import Follower
        from sparkmodel.pool.master import Master
        from sparkmodel.pool.ray_launcher import RayLauncher
        from sparkmodel.wire.server import Server

        self.name, self.version, self.token, self._pool_id = name, 0, token, pool_id
        self._master = Master(name, RayLauncher(name, token, scratch, identity))
        self._server = Server(self, _host(scratch), identity=identity)
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
        return _wrap(self._deploy, spec, payload)

    def _deploy(self, spec: ModelSpec, payload: list[Any]) -> int:
        if spec.options.tls != (self._certificate is not None):
            raise InvalidOptionError(
                "Cannot change option 'tls'",
                f"the pool of model '{self.name}' is serving {'without' if spec.options.tls else 'with'} it",
                "call sm.unregister first",
            )
        return self._master.deploy(spec, payload)

    def reconfigure(self, changes: dict[str, Any]) -> dict[str, Any]:
        return _wrap(self._master.reconfigure, changes)

    def rollback(self) -> dict[str, Any]:
        return _wrap(self._master.rollback)

    def status(self) -> dict[str, Any]:
        return self._master.status()

    def stats(self) -> dict[str, Any]:
        return {**self._master.stats(), "refresh_error": self._follower.error}

    def describe(self) -> dict[str, Any]:
        """What a handle is made of."""
        return _wrap(self._describe)

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
# max_restarts: the master replaces a dead worker, within a budget that forgets; Ray's own count is for life
WorkerActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=8)(WorkerProcess)
MasterActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=32)(MasterProcess)
