# SPDX-License-Identifier: Apache-2.0
"""The narrow interface to the control plane: deploy, find, list, and what can be done to one pool.

Nothing above it knows Ray, so it can move into a process of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import secrets
import time
from collections.abc import Callable
from typing import Any

import ray

from sparkmodel.cluster import claims, connection, supervisors
from sparkmodel.cluster.common import APP_VARIABLE, check_tls, new_app
from sparkmodel.cluster.graves import bury
from sparkmodel.cluster.identity import make_identity
from sparkmodel.cluster.line import CONTROL_S, Line, Lost
from sparkmodel.cluster.nodes import DETACHED
from sparkmodel.cluster.payloads import box
from sparkmodel.cluster.records import Deed
from sparkmodel.errors import (
    ControlTimeoutError,
    InvalidOptionError,
    ModelNotFoundError,
    PoolGoneError,
    suggest,
)
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.secret import new_secret
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire import capabilities
from sparkmodel.wire.client import forget
from sparkmodel.wire.handle import CallOptions, Contract, Credential, Handle, PoolRef
from sparkmodel.wire.limits import Limits

_POLL_S = 0.2
_ATTEND_S = 10.0
_APP = os.environ.get(APP_VARIABLE) or new_app()  # for whom handles are made
_credentials: dict[str, Credential] = {}  # by pool, what this process has made last

Progress = Callable[[dict[str, Any]], None]


class Pool:
    """One deployed pool, by way of its supervisor. Each call has a deadline, and one of three outcomes: it is done, it
    is not done, or (CONTROL_TIMEOUT) nobody knows, and what is not done by then is not done later either.
    """

    def __init__(self, entry: claims.Entry, supervisor: Any) -> None:
        self.name, self.pool_id, self._entry = entry.name, entry.pool_id, entry
        self._line = Line(supervisor, entry.name)

    def change(
        self,
        intent: Intent,
        payload: bytes | None = None,
        progress: Progress = lambda status: None,
        directory: pathlib.Path | None = None,
    ) -> Applied:
        """Have the pool do what is wanted, and wait until it is done.

        Args:
            intent: It. If the supervisor dies, its successor is asked for the same one again.
            payload: The pickle of a shipped object.
            progress: Is told the master's status from time to time.
            directory: The files of a shipped model.

        Raises:
            ControlTimeoutError: not in time.
            SparkModelError: it cannot be done; the pool is as it was.
        """
        limit_s = _limit_s(intent, None if intent.spec else self.spec()[0])
        return self._do("change", (), intent, box(payload, directory), limit_s, progress)

    def _do(
        self, method: str, more: tuple[Any, ...], intent: Intent, boxed: list[Any], limit_s: float, progress: Progress
    ) -> Applied:
        deadline = time.monotonic() + limit_s
        intent = dataclasses.replace(intent, not_after=min(intent.not_after, time.time() + limit_s))
        try:
            while True:
                answer = self._line.send(method, self._entry, *more, intent, boxed)
                try:
                    return self._wait(answer, intent, deadline, progress)
                except Lost:
                    done: Applied | None = self._line.ask("outcome", self._entry, intent.id)
                    if done is not None:
                        return done
                    if time.monotonic() > deadline:
                        raise ControlTimeoutError(
                            f"Cannot change model '{self.name}'",
                            "its supervisor is started again and again; it is not done",
                            "look into the log of the supervisor",
                        ) from None
        except KeyboardInterrupt:
            self._line.send("cancel", self._entry, intent.id)
            raise

    def _wait(self, answer: Any, intent: Intent, deadline: float, progress: Progress) -> Applied:
        while not ray.wait([answer], timeout=_POLL_S)[0]:
            progress(self._line.ask("status", self._entry))
            if time.monotonic() > deadline:
                self._line.ask("cancel", self._entry, intent.id)
                break
        applied: Applied = self._line.take(answer)
        return applied

    def stats(self) -> dict[str, Any]:
        """Counters of the pool and of each worker."""
        stats: dict[str, Any] = self._line.ask("stats", self._entry)
        return stats

    def versions(self) -> list[dict[str, Any]]:
        """What served when, whose wish it was, and what each version has done; the oldest first."""
        versions: list[dict[str, Any]] = self._line.ask("versions", self._entry)
        return versions

    def spec(self) -> tuple[ModelSpec, int]:
        """What is served, and its version."""
        parts = self._line.ask("describe", self._entry, _APP)
        return parts["spec"], parts["version"]

    def handle(self, valid_s: float | None = None) -> Handle:
        """A picklable client.

        Args:
            valid_s: For how long it is good, for one that nobody attends to. By default it is renewed as long as this
                process attends.
        """
        parts = self._line.ask("describe", self._entry, _APP)
        spec: ModelSpec = parts["spec"]
        options = spec.options
        where = {key: parts[key] for key in ("pool_id", "master", "directory")}
        return Handle(
            pool=PoolRef(name=spec.name, **where),
            credential=self._let_in(parts, valid_s),
            contract=Contract(
                result_type=answer_type(spec.result_type, options.on_error),
                inputs=spec.signature.inputs,
                like_mlflow=spec.like_mlflow,
                digest=spec.digest,
            ),
            call=CallOptions(limits=Limits.of(options)),
        )

    def _let_in(self, parts: dict[str, Any], valid_s: float | None) -> Credential:
        """What callers show: the same for all handles, until half of its time is over, so that they share a client."""
        secret, ttl, tls = parts["token"], parts["ttl_s"], parts["tls"]
        if valid_s is not None:
            return capabilities.issue(secret, self.pool_id, _APP, valid_s, tls)
        known = _credentials.get(self.pool_id)
        if known is None or capabilities.expires(known) - time.time() < ttl / 2:
            known = _credentials[self.pool_id] = capabilities.issue(secret, self.pool_id, _APP, ttl, tls)
        return known

    def spares(self) -> dict[str, Any]:
        """The warm processes that the pool's nodes keep ready, by node; other pools of its driver take them too."""
        told: dict[str, Any] = self._line.ask("spares")
        return told

    def drop(self) -> None:
        """End the pool with all its workers, also while it is loading. Calling it twice does nothing."""
        left = self._stop()
        if left == 0 and self._entry.supervisor.startswith(DETACHED):
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(self._line.supervisor.close.remote(), timeout=CONTROL_S)
            ray.kill(self._line.supervisor)
        forget(self._entry.pool_id)
        _credentials.pop(self._entry.pool_id, None)

    def _stop(self) -> int | None:
        """How many pools its supervisor has left; None where there is no supervisor any more."""
        for is_last in (False, True):
            try:
                return int(self._line.ask("stop", self._entry))
            except ControlTimeoutError:  # it was stuck, and is started again: the next one ends the pool
                if is_last:
                    raise
            except PoolGoneError:
                break
        if connection.is_connected():
            namespace = connection.current().namespace
            bury(namespace, self._entry.supervisor)
            claims.release(namespace, self._entry)
        return None


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
    check_tls(spec.name, spec.options.tls, runtime.is_local)
    pool_id, ttl_s = secrets.token_hex(8), capabilities.ttl_s()
    label, supervisor = supervisors.of(runtime, spec.options.detached)
    pool = Pool(claims.Entry(spec.name, pool_id, label), supervisor)
    identity = make_identity(pool_id) if spec.options.tls else None
    intent = Intent(kind="replace", spec=spec)
    try:
        deed = Deed(spec.name, pool_id, new_secret(), identity, _APP, ttl_s)
        pool._do("deploy", (deed,), intent, box(payload, directory), _limit_s(intent, None), progress)
    except BaseException:  # Ctrl-C included: leave nothing half-started
        pool.drop()
        raise
    return pool


def _limit_s(intent: Intent, served: ModelSpec | None) -> float:
    """How long a change may take: the master keeps the time; the margin is for one that does not answer at all."""
    spec = intent.spec or served
    ready_timeout_s = intent.options.get("ready_timeout_s", spec.options.ready_timeout_s if spec else 0.0)
    return 2 * float(ready_timeout_s) + CONTROL_S


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


def attend() -> int:
    """Say to the pools of this namespace that this application goes on, so that what it is let in by is renewed.

    Returns:
        How many of them have heard it.
    """
    namespace = connection.current().namespace
    asked = []
    for entry in list(claims.entries(namespace)):
        supervisor = claims.supervisor_of(namespace, entry)
        if supervisor is not None:
            asked.append(supervisor.attend.remote(entry, _APP))
    heard, _ = ray.wait(asked, num_returns=len(asked), timeout=_ATTEND_S) if asked else ([], [])
    return len(heard)


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
