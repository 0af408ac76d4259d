# SPDX-License-Identifier: Apache-2.0
"""Workers as their master sees them: forks on some node, or Ray actors of their own."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import ray

from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.children import ChildLost
from sparkmodel.cluster.host import Shipped
from sparkmodel.cluster.places import Node
from sparkmodel.cluster.worker_process import Seat, Started
from sparkmodel.errors import SparkModelError
from sparkmodel.pool.ends import End
from sparkmodel.pool.judge import LOST, READY, SILENT, STUCK
from sparkmodel.spec import ModelSpec
from sparkmodel.wire import verdicts
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.verdicts import Fate

_FATE_S, _END_S, _STUCK_S = 5.0, 1.0, 3.0
CONTROL_S = 10.0  # for a worker to answer a control call; its batches go elsewhere meanwhile
DOES_NOT_ANSWER = (ray.exceptions.RayError, ChildLost, SparkModelError, FutureTimeoutError, CancelledError)


class _Member(abc.ABC):
    """What both kinds have: who they are, and how they are asked.

    Args:
        seat: What it is.
        slot: Its reservation.
        started: What it answers when it serves.
        lifeline: Done when it has ended.
        node: Who watches it; None if nobody does.
    """

    def __init__(self, seat: Seat, slot: Any, started: Future[Any], lifeline: Future[Any], node: Node | None) -> None:
        self.version, self.slot, self.started, self.lifeline = seat.version, slot, started, lifeline
        self.endpoint: tuple[str, int] = ("", 0)
        self.feature_names: tuple[str, ...] | None = None
        self._node, self._key = node, seat.key

    def __repr__(self) -> str:
        return f"{type(self).__name__}(version {self.version} at {self.endpoint})"

    def serves(self, started: Started) -> None:
        """It serves there."""
        self.endpoint, self.feature_names = started.endpoint, started.feature_names

    @property
    def state(self) -> str:
        return READY if self._node is None else self._node.state(self._key)

    def fate(self, session: int, seq: int) -> Fate:
        if self.state == LOST or self._node is None:
            return Fate() if self._node is None else Fate(fate=verdicts.SILENT, fact="nothing is heard of its host")
        try:
            fate: Fate = self._node.ask("fate", self._key, session, seq).result(_FATE_S)
            return fate
        except DOES_NOT_ANSWER:
            return Fate()

    def publish(self, directory: Directory) -> None:
        self._ask("publish", directory)

    def configure(self, spec: ModelSpec) -> None:
        with contextlib.suppress(*DOES_NOT_ANSWER):  # dead or stuck: its successor starts with them
            self._answer("configure", spec)

    def hold(self, query: str) -> bool:
        if self.state in (SILENT, LOST):
            return False
        try:
            return bool(self._answer("hold", query))
        except DOES_NOT_ANSWER:
            return False

    def leases(self) -> dict[str, float]:
        if self.state in (SILENT, LOST):
            return {}
        try:
            leases: dict[str, float] = self._answer("leases")
            return leases
        except DOES_NOT_ANSWER:
            return {}

    def stats(self) -> dict[str, Any]:
        # one that is stuck may only be slow, on a busy machine; if it ends, its page has its counters
        limit_s = _STUCK_S if self.state == STUCK else CONTROL_S
        try:
            stats: dict[str, Any] = self._answer("stats", limit_s=limit_s)
            return stats
        except DOES_NOT_ANSWER:  # dead or stuck; the supervisor deals with it
            return {}

    def close(self, drain_s: float) -> dict[str, Any]:
        last: dict[str, Any] = {}
        if self.started.done():  # else it is loading, and would answer only afterwards
            with contextlib.suppress(*DOES_NOT_ANSWER):
                self._answer("close", drain_s, limit_s=drain_s + CONTROL_S)
                last = self._answer("stats")  # whatever its host thinks of it: these are the last ones
        with contextlib.suppress(*DOES_NOT_ANSWER):
            self._kill()
            self.lifeline.result(CONTROL_S)
        return last

    def _answer(self, method: str, *arguments: Any, limit_s: float = CONTROL_S) -> Any:
        if self.state in (SILENT, LOST):  # it would not answer in time
            raise ChildLost("it does not go on")
        return self._ask(method, *arguments).result(limit_s)

    @abc.abstractmethod
    def ended(self) -> End | None:
        """How it ended; None if it has not, or nobody knows."""

    @abc.abstractmethod
    def _ask(self, method: str, *arguments: Any) -> Future[Any]:
        """Have the worker do it."""

    @abc.abstractmethod
    def _kill(self) -> None:
        """End its process."""


class ForkedMember(_Member):
    """A worker that was forked from a warm process.

    Args:
        node: Where.
        seat: What it is.
        slot: Its reservation.
        shipped: What it loads; with `started`, nothing any more.
        started: What it told, if it serves already.
    """

    def __init__(
        self, node: Node, seat: Seat, slot: Any, shipped: Shipped = None, started: Started | None = None
    ) -> None:
        first = node.ask("start", seat.key, seat, shipped) if started is None else _done(started)
        super().__init__(seat, slot, first, _after(first, lambda: node.ask("exited", seat.key)), node)
        self._place = node
        if started is not None:
            self.serves(started)

    def ended(self) -> End | None:
        return _end(self.lifeline, 0.0)

    def _ask(self, method: str, *arguments: Any) -> Future[Any]:
        asked = self._place.ask("call", self._key, method, *arguments)
        answer: Future[Any] = Future()

        def unwrapped(done: Future[Any]) -> None:
            try:
                answer.set_result(unwrap(done.result()))
            except BaseException as error:
                answer.set_exception(error)

        asked.add_done_callback(unwrapped)
        return answer

    def _kill(self) -> None:
        self._place.ask("kill", self._key).result(CONTROL_S)


class ActorMember(_Member):
    """A worker that is a Ray actor of its own.

    Args:
        actor: It.
        seat: What it is.
        slot: Its reservation.
        boxed: What it loads; with `started`, nothing any more.
        started: What it told, if it serves already.
        node: Who watches it; None if nobody does.
    """

    def __init__(
        self,
        actor: Any,
        seat: Seat,
        slot: Any,
        boxed: Sequence[Any] = (),
        started: Started | None = None,
        node: Node | None = None,
    ) -> None:
        self._actor, self._watched = actor, _never()
        first = actor.start.remote(list(boxed)).future() if started is None else _done(started)
        super().__init__(seat, slot, first, actor.park.remote().future(), node)
        if started is not None:
            self.serves(started)

    def serves(self, started: Started) -> None:
        super().serves(started)
        if self._node is not None:
            self._watched = self._node.ask("watch", self._key, started.pid, started.page)

    def ended(self) -> End | None:
        return _end(self._watched, _END_S) if self.lifeline.done() else None

    def close(self, drain_s: float) -> dict[str, Any]:
        if self._node is not None:
            self._node.ask("wants_end", self._key)
        return super().close(drain_s)

    def _ask(self, method: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = getattr(self._actor, method).remote(*arguments).future()
        return future

    def _kill(self) -> None:
        ray.kill(self._actor)


def _after(first: Future[Any], ask: Callable[[], Future[Any]]) -> Future[Any]:
    """The answer of what is asked when something else is done: an actor does not keep the order of its calls."""
    answer: Future[Any] = Future()

    def pass_on(done: Future[Any]) -> None:
        error = done.exception()
        answer.set_result(done.result()) if error is None else answer.set_exception(error)

    first.add_done_callback(lambda _: ask().add_done_callback(pass_on))
    return answer


def _end(told: Future[Any], wait_s: float) -> End | None:
    """What was told of an end, if it was."""
    try:
        end = told.result(wait_s)
    except DOES_NOT_ANSWER:
        return None
    return end if isinstance(end, End) else None


def _never() -> Future[Any]:
    return Future()


def _done(started: Started) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result({"value": started})
    return future
