# SPDX-License-Identifier: Apache-2.0
"""The narrow interface to the control plane: deploy, find, list, and what can be done to one pool.

Nothing above it knows Ray, so it can move into a process of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import ray

from sparkmodel.cluster import connection
from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.identity import make_identity
from sparkmodel.cluster.master_actor import MasterActor
from sparkmodel.errors import (
    InvalidOptionError,
    ModelNotFoundError,
    NameTakenError,
    PoolGoneError,
    PoolNotReadyError,
    RayUnavailableError,
    suggest,
)
from sparkmodel.loaders import bundle
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.client import forget
from sparkmodel.wire.handle import CallOptions, Contract, Credential, Handle, Limits, PoolRef

_PREFIX = "sparkmodel:"
_CONTROL_S = 30.0
_POLL_S = 0.2
_PIECES = 32  # of 1 MiB: an object of Ray's

Progress = Callable[[dict[str, Any]], None]


class Pool:
    """One deployed pool, by way of its master."""

    def __init__(self, name: str, master: Any) -> None:
        self.name, self._master = name, master
        self._pool_id = ""

    def deploy(
        self,
        spec: ModelSpec,
        payload: bytes | None,
        progress: Progress = lambda status: None,
        directory: pathlib.Path | None = None,
    ) -> int:
        """Serve a new version; returns its number. The old one goes on if this fails.

        Args:
            spec: What to serve.
            payload: The pickle of a shipped object.
            progress: Is told the master's status from time to time.
            directory: The files of a shipped model.
        """
        boxed = _box(payload, directory)
        return self._wait(self._master.deploy.remote(spec, boxed), spec.options.ready_timeout_s, progress)

    def reconfigure(self, changes: Mapping[str, Any], progress: Progress = lambda status: None) -> int:
        """Serve the same model, shipped or not, with fields of its spec changed; returns the new version's number.

        Args:
            changes: Fields of `ModelSpec`, not its name, source or signature.
            progress: As for `deploy`.
        """
        spec, _ = self.spec()
        options = changes.get("options", spec.options)
        return self._wait(self._master.reconfigure.remote(dict(changes)), options.ready_timeout_s, progress)

    def _wait(self, answer: Any, ready_timeout_s: float, progress: Progress) -> int:
        # the master keeps the time; the margin is for a master that does not answer at all
        deadline = time.monotonic() + 2 * ready_timeout_s + _CONTROL_S
        while not ray.wait([answer], timeout=_POLL_S)[0]:
            progress(self._call("status"))
            if time.monotonic() > deadline:
                raise PoolNotReadyError(f"Cannot make model '{self.name}' ready", "its master does not answer")
        return int(unwrap(self._get(answer)))

    def rollback(self) -> int:
        """Serve the version before; returns its number."""
        return int(unwrap(self._get(self._master.rollback.remote(), None)))

    def stats(self) -> dict[str, Any]:
        """Counters of the pool and of each worker."""
        stats: dict[str, Any] = self._call("stats")
        return stats

    def spec(self) -> tuple[ModelSpec, int]:
        """What is served, and its version."""
        parts = unwrap(self._call("describe"))
        return parts["spec"], parts["version"]

    def handle(self) -> Handle:
        """A picklable client."""
        parts = unwrap(self._call("describe"))
        spec: ModelSpec = parts["spec"]
        options = spec.options
        self._pool_id = parts["pool_id"]
        where = {key: parts[key] for key in ("pool_id", "master", "directory")}
        return Handle(
            pool=PoolRef(name=spec.name, **where),
            credential=Credential(token=parts["token"], tls=parts["tls"]),
            contract=Contract(
                result_type=answer_type(spec.result_type, options.on_error),
                inputs=spec.signature.inputs,
                like_mlflow=spec.like_mlflow,
            ),
            call=CallOptions(limits=Limits.of(options)),
        )

    def drop(self) -> None:
        """End the master and all workers. Calling it twice does nothing."""
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self._master.stop.remote(), timeout=_CONTROL_S)
        self.kill()
        forget(self._pool_id)

    def kill(self) -> None:
        """End the master at once; its workers die with it."""
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.kill(self._master)
        if connection.owned.get(self.name) == self._master:
            del connection.owned[self.name]

    def _call(self, method: str) -> Any:
        try:
            answer = getattr(self._master, method).remote()
        except Exception as error:  # Ray raises no class of its own for an actor of a connection that has ended
            raise PoolGoneError(
                f"Cannot reach the pool of model '{self.name}'", f"the connection to Ray has ended: {error}"
            ) from error
        return self._get(answer)

    def _get(self, ref: Any, timeout_s: float | None = _CONTROL_S) -> Any:
        try:
            return ray.get(ref, timeout=timeout_s)
        except ray.exceptions.ActorDiedError as error:
            raise PoolGoneError(
                f"Cannot reach the pool of model '{self.name}'",
                "its master is dead or was dropped",
                "register the model again with sm.register",
            ) from error
        except ray.exceptions.RayError as error:
            raise RayUnavailableError(
                f"Cannot reach the pool of model '{self.name}'", f"{type(error).__name__}: {error}"
            ) from error


def deploy(spec: ModelSpec, payload: bytes | None, progress: Progress, directory: pathlib.Path | None = None) -> Pool:
    """Start a pool and wait until it is ready.

    Raises:
        NameTakenError: a pool of that name exists.
        PoolNotPlacedError, PoolNotReadyError, ModelLoadError, ModelProbeError: it cannot serve; nothing is left.
    """
    runtime = connection.current()
    if spec.options.detached and runtime.is_local:
        raise InvalidOptionError(
            "Cannot use option 'detached'",
            "this Ray was started for this driver and ends with it",
            "connect to a Ray cluster first: sm.init(address='host:port')",
        )
    if _find(spec.name) is not None:
        raise name_taken(spec.name)
    pool_id = secrets.token_hex(8)
    try:
        master = MasterActor.options(
            name=_PREFIX + spec.name,
            namespace=runtime.namespace,
            lifetime="detached" if spec.options.detached else None,
        ).remote(
            spec.name,
            pool_id,
            secrets.token_hex(32),
            str(runtime.scratch.path) if runtime.scratch else "",
            make_identity(pool_id) if spec.options.tls else None,
        )
    except ValueError as error:  # somebody was faster
        raise name_taken(spec.name) from error
    pool = Pool(spec.name, master)
    try:
        pool.deploy(spec, payload, progress, directory)
    except BaseException:  # Ctrl-C included: leave nothing half-started
        pool.kill()
        raise
    connection.owned[spec.name] = master
    return pool


def name_taken(name: str) -> NameTakenError:
    """The error of who wants a name that a pool has."""
    return NameTakenError(
        f"Cannot register model '{name}'",
        "a pool of that name is serving",
        "pass replace=True to move it to this source, or call sm.unregister first",
    )


def _box(payload: bytes | None, directory: pathlib.Path | None) -> list[Any]:
    """What is shipped, in Ray's object store: from there each node fetches it once."""
    if payload is None and directory is None:
        return []
    boxed: list[Any] = [None if payload is None else ray.put(np.frombuffer(payload, np.uint8))]
    pieces = bundle.pack(directory) if directory is not None else iter(())
    while some := list(itertools.islice(pieces, _PIECES)):  # the driver holds no more than these at a time
        boxed.append(ray.put(some))
    return boxed


def find(name: str) -> Pool:
    """The pool of that name.

    Raises:
        ModelNotFoundError: there is none in this namespace.
    """
    pool = _find(name)
    if pool is None:
        raise ModelNotFoundError(
            f"Cannot find model '{name}'", "no such pool on this Ray cluster", suggest(name, names())
        )
    return pool


def cpus() -> int:
    """CPUs of the Ray cluster."""
    connection.current()
    ask: Any = ray.cluster_resources
    return int(ask().get("CPU", 0))


def names() -> list[str]:
    """Names of the pools in this namespace."""
    connection.current()
    found = ray.util.list_named_actors(all_namespaces=True)
    namespace = connection.current().namespace
    return sorted(
        entry["name"].removeprefix(_PREFIX)
        for entry in found
        if entry["namespace"] == namespace and entry["name"].startswith(_PREFIX)
    )


def _find(name: str) -> Pool | None:
    try:
        actor = ray.get_actor(_PREFIX + name, namespace=connection.current().namespace)
    except ValueError:
        return None
    return Pool(name, actor)
