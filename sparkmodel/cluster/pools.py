# SPDX-License-Identifier: Apache-2.0
"""The narrow interface to the control plane: deploy, find, list, and what can be done to one pool.

Nothing above it knows Ray, so it can move into a process of its own.
"""

from __future__ import annotations

import contextlib
import pathlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

from sparkmodel.cluster import claims, connection, supervisors
from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.common import name_taken
from sparkmodel.cluster.identity import make_identity
from sparkmodel.cluster.payloads import box
from sparkmodel.errors import (
    InvalidOptionError,
    ModelNotFoundError,
    PoolGoneError,
    PoolNotReadyError,
    RayUnavailableError,
    suggest,
)
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.client import forget
from sparkmodel.wire.handle import CallOptions, Contract, Credential, Handle, Limits, PoolRef

_CONTROL_S = 30.0
_POLL_S = 0.2

Progress = Callable[[dict[str, Any]], None]


class Pool:
    """One deployed pool, by way of its master."""

    def __init__(self, entry: claims.Entry, supervisor: Any) -> None:
        self.name, self.pool_id, self._entry, self._supervisor = entry.name, entry.pool_id, entry, supervisor

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
        answer = self._send("deploy", spec, box(payload, directory))
        return self._wait(answer, spec.options.ready_timeout_s, progress)

    def reconfigure(self, changes: Mapping[str, Any], progress: Progress = lambda status: None) -> int:
        """Serve the same model, shipped or not, with fields of its spec changed; returns the new version's number.

        Args:
            changes: Fields of `ModelSpec`, not its name, source or signature.
            progress: As for `deploy`.
        """
        spec, _ = self.spec()
        options = changes.get("options", spec.options)
        return self._wait(self._send("reconfigure", dict(changes)), options.ready_timeout_s, progress)

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
        return int(unwrap(self._get(self._send("rollback"), None)))

    def stats(self) -> dict[str, Any]:
        """Counters of the pool and of each worker."""
        stats: dict[str, Any] = self._call("stats")
        return stats

    def spec(self) -> tuple[ModelSpec, int]:
        """What is served, and its version."""
        parts = self._call("describe")
        return parts["spec"], parts["version"]

    def handle(self) -> Handle:
        """A picklable client."""
        parts = self._call("describe")
        spec: ModelSpec = parts["spec"]
        options = spec.options
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

    def spares(self) -> dict[str, Any]:
        """The warm processes that the pool's nodes keep ready, by node; other pools of its driver take them too."""
        told: dict[str, Any] = self._get(self._supervisor.spares.remote())
        return told

    def drop(self) -> None:
        """End the pool with all its workers, also while it is loading. Calling it twice does nothing."""
        try:
            left = self._get(self._send("stop"))
        except PoolGoneError:
            left = None
        if left == 0 and self._entry.supervisor.startswith(supervisors.DETACHED):
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(self._supervisor.close.remote(), timeout=_CONTROL_S)
            ray.kill(self._supervisor)
        forget(self._entry.pool_id)

    def _send(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._supervisor, method).remote(self._entry, *arguments)
        except Exception as error:  # Ray raises no class of its own for an actor of a connection that has ended
            raise PoolGoneError(
                f"Cannot reach the pool of model '{self.name}'", f"the connection to Ray has ended: {error}"
            ) from error

    def _call(self, method: str) -> Any:
        return unwrap(self._get(self._send(method)))

    def _get(self, ref: Any, timeout_s: float | None = _CONTROL_S) -> Any:
        try:
            return ray.get(ref, timeout=timeout_s)
        except ray.exceptions.ActorDiedError as error:
            raise PoolGoneError(
                f"Cannot reach the pool of model '{self.name}'",
                "its supervisor is dead",
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
    pool_id = secrets.token_hex(8)
    label, supervisor = supervisors.of(runtime, spec.options.detached)
    pool = Pool(claims.Entry(spec.name, pool_id, label), supervisor)
    identity = make_identity(pool_id) if spec.options.tls else None
    try:
        is_new = pool._get(supervisor.open.remote(pool._entry, secrets.token_hex(32), identity))
        if not is_new:
            raise name_taken(spec.name)
        pool.deploy(spec, payload, progress, directory)
    except BaseException:  # Ctrl-C included: leave nothing half-started
        pool.drop()
        raise
    return pool


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
    namespace = connection.current().namespace
    return sorted(entry.name for entry in list(claims.entries(namespace)) if claims.find(namespace, entry.name))


def _find(name: str) -> Pool | None:
    namespace = connection.current().namespace
    entry = claims.find(namespace, name)
    supervisor = claims.supervisor_of(namespace, entry) if entry else None
    return Pool(entry, supervisor) if entry and supervisor else None
