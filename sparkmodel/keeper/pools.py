# SPDX-License-Identifier: Apache-2.0
"""The narrow interface to the control plane: deploy, find, list, and what can be done to one pool.

It is that of `sparkmodel.cluster.pools`, for a process that holds no Ray.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NoReturn

from sparkmodel.cluster.common import name_taken
from sparkmodel.errors import PoolGoneError, RayUnavailableError
from sparkmodel.keeper import connection
from sparkmodel.keeper.connection import Runtime
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.client import forget
from sparkmodel.wire.handle import Handle

Progress = Callable[[dict[str, Any]], None]


class Pool:
    """One deployed pool: all methods of `sparkmodel.cluster.pools.Pool`, by way of the keeper.

    Args:
        runtime: The connection that it was deployed or found by.
        name: Of the model.
        pool_id: Unique for each pool.
    """

    def __init__(self, runtime: Runtime, name: str, pool_id: str) -> None:
        self._runtime, self.name, self.pool_id = runtime, name, pool_id

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)
        return functools.partial(self._ask, method)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Pool belongs to its driver's keeper; pickle its handle()")

    def change(
        self,
        intent: Intent,
        payload: bytes | None = None,
        progress: Progress = lambda status: None,
        directory: pathlib.Path | None = None,
    ) -> Applied:
        """Have the pool do what is wanted, and wait until it is done."""
        applied: Applied = self._ask("change", intent, payload, progress, directory)
        return applied

    def versions(self) -> list[dict[str, Any]]:
        """What served when, whose wish it was, and what each version has done; the oldest first."""
        versions: list[dict[str, Any]] = self._ask("versions")
        return versions

    def spec(self) -> tuple[ModelSpec, int]:
        """What is served, and its version."""
        parts: tuple[ModelSpec, int] = self._ask("spec")
        return parts

    def handle(self, valid_s: float | None = None) -> Handle:
        """A picklable client.

        Args:
            valid_s: For how long it is good, for one that nobody attends to. By default it is renewed as long as this
                process has its keeper.
        """
        handle: Handle = self._ask("handle", valid_s)
        return handle

    def stats(self) -> dict[str, Any]:
        """Counters of the pool and of each worker."""
        stats: dict[str, Any] = self._ask("stats")
        return stats

    def drop(self) -> None:
        """End the pool with all its workers, also while it is loading. Calling it twice does nothing."""
        try:
            self._ask("drop")
        except PoolGoneError:  # its Ray has ended, and it with it
            return
        except RayUnavailableError:
            if not self._is_gone():
                raise
        finally:
            forget(self.pool_id)

    def _ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        link = self._living().link
        return link.call("pool", self.name, self.pool_id, method, *arguments, **named)

    def _is_gone(self) -> bool:
        """Whether the Ray that it was on has ended, or is none of this process's any more."""
        link = self._runtime.link
        is_over = link.has_ended or link.is_lost_for_good
        return link.is_closed or (self._runtime.is_local and is_over)

    def _living(self) -> Runtime:
        if self._is_gone():
            raise PoolGoneError(
                f"Cannot reach the pool of model '{self.name}'",
                "the Ray that it was on has ended",
                "register the model again with sm.register",
            )
        if not self._runtime.link.is_usable:
            self._runtime = connection.current()  # of a cluster, which may have kept it
        return self._runtime


def deploy(spec: ModelSpec, payload: bytes | None, progress: Progress, directory: pathlib.Path | None = None) -> Pool:
    """Start a pool and wait until it is ready.

    Raises:
        NameTakenError: a pool of that name exists.
        PoolNotPlacedError, PoolNotReadyError, ModelLoadError, ModelProbeError: it cannot serve; nothing is left.
    """
    runtime = connection.current()

    def drop(unwanted: tuple[str, str]) -> None:
        Pool(runtime, *unwanted).drop()

    return Pool(runtime, *runtime.link.call("deploy", spec, payload, progress, directory, undo=drop))


def find(name: str) -> Pool:
    """The pool of that name.

    Raises:
        ModelNotFoundError: there is none in this namespace.
    """
    runtime = connection.current()
    return Pool(runtime, *runtime.link.call("find", name))


def cpus() -> int:
    """CPUs of the Ray cluster."""
    return int(connection.current().link.call("cpus"))


def names() -> list[str]:
    """Names of the pools in this namespace."""
    return list(connection.current().link.call("names"))


__all__ = ["Pool", "cpus", "deploy", "find", "name_taken", "names"]
