# SPDX-License-Identifier: Apache-2.0
"""Calls to a supervisor, which may die meanwhile and come again: each has a deadline, and one of three outcomes."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import ray
from ray._private import state

from sparkmodel.cluster.answers import unwrap
from sparkmodel.errors import ControlTimeoutError, PoolGoneError, RayUnavailableError

CONTROL_S = 30.0
_PAUSE_S = 0.1


class Line:
    """To one supervisor, about one pool.

    Args:
        supervisor: The actor.
        name: The model's name, for errors.
    """

    def __init__(self, supervisor: Any, name: str) -> None:
        self.supervisor, self._name = supervisor, name

    def send(self, method: str, *arguments: Any) -> Any:
        """Begin to ask; what is returned is for `take`.

        Raises:
            PoolGoneError: the connection to Ray has ended.
        """
        try:
            return getattr(self.supervisor, method).remote(*arguments)
        except Exception as error:  # Ray raises no class of its own for an actor of a connection that has ended
            raise PoolGoneError(self._what, f"the connection to Ray has ended: {error}") from error

    def take(self, answer: Any, limit_s: float | None = None) -> Any:
        """The answer, within `CONTROL_S` unless another limit is given.

        Raises:
            Lost: the supervisor died meanwhile, and is started again: it may have done it or not.
            ControlTimeoutError: it did not answer. It is ended, so that what it has not done it does not do later.
            PoolGoneError: it has ended for good.
            RayUnavailableError: Ray does not answer.
            SparkModelError: what it answered.
        """
        limit_s = CONTROL_S if limit_s is None else limit_s
        try:
            return unwrap(ray.get(answer, timeout=limit_s))
        except ray.exceptions.ActorDiedError as error:
            raise PoolGoneError(
                self._what, "its supervisor has ended for good", "register the model again with sm.register"
            ) from error
        except ray.exceptions.ActorUnavailableError as error:
            raise Lost(str(error)) from error
        except ray.exceptions.GetTimeoutError as error:
            self._revive()
            raise ControlTimeoutError(
                self._what,
                f"its supervisor did not answer within {limit_s:.0f} s and is started again; what it had not done by "
                "then is not done",
                "look at what the pool serves, then ask again",
            ) from error
        except ray.exceptions.RayError as error:
            raise RayUnavailableError(self._what, f"{type(error).__name__}: {error}") from error

    def ask(self, method: str, *arguments: Any, limit_s: float | None = None) -> Any:
        """Ask, and ask its successor if it dies; for what may be done twice.

        Raises:
            ControlTimeoutError, PoolGoneError, RayUnavailableError, SparkModelError: as `take`.
        """
        deadline = time.monotonic() + (CONTROL_S if limit_s is None else limit_s)
        while True:
            try:
                return self.take(self.send(method, *arguments), max(_PAUSE_S, deadline - time.monotonic()))
            except Lost as error:
                if time.monotonic() > deadline:
                    raise ControlTimeoutError(
                        self._what, f"its supervisor is started again and again: {error}", "ask again later"
                    ) from error
                time.sleep(_PAUSE_S)

    def _revive(self) -> None:
        """End a supervisor that is stopped or hangs; Ray starts the next one, which adopts the workers."""
        if _is_up(self.supervisor):  # else it is being started just now, on a machine with much else to do
            with contextlib.suppress(ray.exceptions.RayError, ValueError):  # it has ended by itself
                ray.kill(self.supervisor, no_restart=False)

    @property
    def _what(self) -> str:
        return f"Cannot reach the pool of model '{self._name}'"


def _is_up(actor: Any) -> bool:
    told: Any = state.actors(actor._actor_id.hex())
    return bool(told) and told["State"] == "ALIVE"


class Lost(Exception):
    """The supervisor died while it was asked."""
