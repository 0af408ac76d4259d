# SPDX-License-Identifier: Apache-2.0
"""Workers as their master sees them: forks on some node, or Ray actors of their own."""

from __future__ import annotations

import contextlib
import secrets
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Protocol

import ray

from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.children import ChildLost
from sparkmodel.cluster.host import Host
from sparkmodel.cluster.worker_process import Seat
from sparkmodel.errors import SparkModelError
from sparkmodel.wire.directory import Directory

CONTROL_S = 10.0  # for a worker to answer a control call; its batches go elsewhere meanwhile
_DOES_NOT_ANSWER = (ray.exceptions.RayError, ChildLost, SparkModelError, FutureTimeoutError, CancelledError)


class Node(Protocol):
    """Where forked workers live; `Host`'s methods by name, with their answers to come."""

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        """Have it done."""


class Near:
    """The node of this process."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = getattr(self._host, method)(*arguments)
        return future


class Far:
    """Another node, by way of its `HostActor`."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = getattr(self.actor, method).remote(*arguments).future()
        return future


class ForkedMember:
    """A worker that was forked from a warm process."""

    def __init__(self, node: Node, seat: Seat, boxed: list[Any], slot: Any) -> None:
        self._node, self._key, self.slot = node, secrets.token_hex(8), slot
        self.endpoint: tuple[str, int] = ("", 0)
        self.feature_names: tuple[str, ...] | None = None
        self.started = node.ask("start", self._key, seat, boxed)
        self.lifeline = node.ask("exited", self._key)

    def publish(self, directory: Directory) -> None:
        self._node.ask("call", self._key, "publish", directory)

    def stats(self) -> dict[str, Any]:
        try:
            stats: dict[str, Any] = unwrap(self._node.ask("call", self._key, "stats").result(CONTROL_S))
            return stats
        except _DOES_NOT_ANSWER:  # dead or stuck; the supervisor deals with it
            return {}

    def close(self, drain_s: float) -> None:
        if self.started.done():  # else it is loading, and would answer only afterwards
            with contextlib.suppress(*_DOES_NOT_ANSWER):
                self._node.ask("call", self._key, "close", drain_s).result(drain_s + CONTROL_S)
        with contextlib.suppress(*_DOES_NOT_ANSWER):
            self._node.ask("kill", self._key).result(CONTROL_S)
            self.lifeline.result(CONTROL_S)


class ActorMember:
    """A worker that is a Ray actor of its own."""

    def __init__(self, actor: Any, boxed: list[Any], slot: Any) -> None:
        self._actor, self.slot = actor, slot
        self.endpoint: tuple[str, int] = ("", 0)
        self.feature_names: tuple[str, ...] | None = None
        self.started: Future[Any] = actor.start.remote(boxed).future()
        self.lifeline: Future[Any] = actor.park.remote().future()

    def publish(self, directory: Directory) -> None:
        self._actor.publish.remote(directory)

    def stats(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = ray.get(self._actor.stats.remote(), timeout=CONTROL_S)
            return answer
        except ray.exceptions.RayError:  # dead or stuck; the supervisor deals with it
            return {}

    def close(self, drain_s: float) -> None:
        if self.started.done():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(self._actor.close.remote(drain_s), timeout=drain_s + CONTROL_S)
        ray.kill(self._actor)
        with contextlib.suppress(*_DOES_NOT_ANSWER):
            self.lifeline.result(CONTROL_S)
