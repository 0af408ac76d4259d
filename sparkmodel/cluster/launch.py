# SPDX-License-Identifier: Apache-2.0
"""Places workers, starts them, and finds those that a launcher before this one had started.

A slot is the name of a placement group of one bundle with the resources of one worker. A fork on its node takes the
place of an actor in it; an actor asks for none of its CPUs and for its GPUs.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import pathlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.children import ChildLost
from sparkmodel.cluster.members import ActorMember, ForkedMember
from sparkmodel.cluster.nodes import Nodes, named
from sparkmodel.cluster.payloads import Kept
from sparkmodel.cluster.places import Node
from sparkmodel.cluster.reservations import NOTHING, Reservations, resources
from sparkmodel.cluster.worker_actor import WorkerActor
from sparkmodel.cluster.worker_process import Seat, Started, threads_of
from sparkmodel.errors import (
    ModelEnvironmentError,
    PoolGoneError,
    PoolNotPlacedError,
    PoolNotReadyError,
    SparkModelError,
)
from sparkmodel.pool.launcher import Member
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.tls import Identity

_LOCAL_PLACE_S = 5.0  # a local Ray does not grow: what is not free by then will not be soon
_FIRST_LOOK_S, _LOOK_S = 0.02, 0.25
_PATIENCE_S = 0.5  # for Ray to place a worker before other pools are asked to give way
Room = Literal["made", "later", "none"]
_ADOPT_S = 3.0  # for an actor to say who it is: the pool waits for its supervisor


class RayLauncher:
    """Starts the workers of one pool on a Ray cluster. They outlive it, and are adopted by the next one.

    Args:
        name: The model's name.
        pool_id: The pool's.
        token: The pool's secret.
        nodes: Where forks live.
        identity: What workers serve TLS with, if at all.
        make_room: Has other pools give way to this one; whether one did, may later, or none ever will.
    """

    def __init__(
        self,
        name: str,
        pool_id: str,
        token: str,
        nodes: Nodes,
        identity: Identity | None,
        make_room: Callable[[], Room] = lambda: "none",
    ) -> None:
        self._name, self._pool_id, self._token, self._nodes = name, pool_id, token, nodes
        self._identity, self._make_room = identity, make_room
        self._slots = Reservations(f"{nodes.label}:{pool_id}:", nodes.is_detached, nodes.lost)
        self._kept = Kept(nodes.root / f"kept-{pool_id}", f"Cannot load model '{name}'")

    def reserve(self, count: int, bundle: Mapping[str, float], timeout_s: float, stopped: threading.Event) -> list[Any]:
        if not bundle:
            return [f"{NOTHING}{secrets.token_hex(4)}" for _ in range(count)]
        began = time.monotonic()
        before = resources(ray.available_resources)
        slots = self._slots.make(count, bundle)
        try:
            for slot in slots:
                look_s = _FIRST_LOOK_S
                while not self._slots.wait(slot, look_s):
                    waited_s = time.monotonic() - began
                    look_s = _LOOK_S
                    if stopped.is_set():
                        raise PoolGoneError(f"Cannot place model '{self._name}'", "its pool was dropped")
                    is_full = waited_s > _PATIENCE_S and not _has_room(bundle)
                    room = self._make_room() if is_full else "made"
                    is_hopeless = self._nodes.is_local and waited_s > _LOCAL_PLACE_S and room == "none"
                    if is_hopeless or waited_s > timeout_s:
                        raise self._not_placed(count, bundle, waited_s, before)
        except BaseException:
            self._slots.release(slots)
            raise
        return list(slots)

    def _not_placed(
        self, count: int, bundle: Mapping[str, float], waited_s: float, free: Mapping[str, float]
    ) -> PoolNotPlacedError:
        total = resources(ray.cluster_resources)
        asked = ", ".join(f"{key} {value * count:g}" for key, value in bundle.items())
        there = ", ".join(f"{key} {free.get(key, 0):g} free of {total.get(key, 0):g}" for key in bundle)
        return PoolNotPlacedError(
            f"Cannot place {count} workers of model '{self._name}'",
            f"asked for {asked} in total, there is {there} (waited {waited_s:.0f} s)",
            "lower workers, num_cpus (fractions count) or num_gpus, or give a local Ray more: sm.init(num_cpus=n)",
        )

    def release(self, slots: Sequence[Any]) -> None:
        self._slots.release(slots)

    def sweep(self, slots: Sequence[Any]) -> None:
        self._slots.sweep(slots)

    def keep(self, payload: Any) -> str:
        key, boxed = payload
        return self._kept.keep(key, boxed)

    def forget(self, key: str) -> None:
        self._kept.forget(key)

    def start(self, spec: ModelSpec, version: int, payload: str, slot: Any) -> Member:
        key = secrets.token_hex(8)
        seat = Seat(
            spec=spec,
            version=version,
            token=self._token,
            root=pathlib.Path(),  # both are the node's
            host="",
            identity=self._identity,
            pool_id=self._pool_id,
            key=key,
            slot=slot,
        )
        environment = runtime_env(spec)
        if self._nodes.forks and not environment and not spec.options.num_gpus and threads_of(spec) == 1:
            node = self._nodes.of(self._slots.node_of(slot))
            here = self._nodes.is_here(node)
            return ForkedMember(node, seat, slot, self._kept.path(payload) if here else self._kept.boxed(payload))
        # another process than a fork would be: other libraries or variables, a GPU, more threads
        options: dict[str, Any] = {
            "name": f"{self._nodes.label}:worker:{self._pool_id}:{key}",
            "namespace": self._nodes.namespace,
            "lifetime": "detached",
            "num_cpus": 0,
            "num_gpus": spec.options.num_gpus,
        }
        group = self._slots.group(slot)
        watch: Node | None = None
        if group is not None:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(group)
            watch = self._place_of(slot)
        if environment:
            options["runtime_env"] = environment
        scratch = str(self._nodes.scratch or "")
        actor = WorkerActor.options(**options).remote(seat, scratch, self._nodes.label, self._nodes.namespace)
        return ActorMember(actor, seat, slot, self._kept.boxed(payload), node=watch)

    def adopt(self) -> list[Member]:
        members: list[Member] = [
            ForkedMember(node, seat, seat.slot, started=started)
            for node, seat, started in self._nodes.claim(self._pool_id)
        ]
        asked = {}
        for name in named(self._nodes.namespace, f"{self._nodes.label}:worker:{self._pool_id}:"):
            with contextlib.suppress(ValueError):  # it has just ended
                actor = ray.get_actor(name, namespace=self._nodes.namespace)
                asked[actor.tell.remote()] = actor
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ADOPT_S) if asked else ([], [])
        for answer, actor in asked.items():
            told = None
            with contextlib.suppress(ray.exceptions.RayError):  # it has ended
                told = ray.get(answer) if answer in ready else None
            if told is None:
                ray.kill(actor)
            else:
                seat, started = told
                members.append(ActorMember(actor, seat, seat.slot, started=started, node=self._place_of(seat.slot)))
        return members

    def _place_of(self, slot: str) -> Node | None:
        """Where an actor is watched; None for one that reserves nothing, which may be anywhere."""
        try:
            node = self._slots.node_of(slot)
        except (ValueError, KeyError):  # its reservation has just gone
            return None
        return None if node is None else self._nodes.of(node)

    def close(self) -> None:
        """The pool has ended: leave nothing of it."""
        self.sweep([])
        self._kept.close()

    def join(self, members: Sequence[Member], timeout_s: float) -> None:
        pending = {member.started: member for member in _ours(members)}
        deadline = time.monotonic() + timeout_s
        while pending:
            left_s = max(0.0, deadline - time.monotonic())
            done, _ = concurrent.futures.wait(pending, left_s, concurrent.futures.FIRST_COMPLETED)
            if not done:
                raise self._not_ready(
                    f"{len(pending)} of {len(members)} workers were not loaded within {timeout_s:.0f} s",
                    "raise ready_timeout_s",
                )
            for future in done:
                pending.pop(future).serves(self._started(future))

    def _started(self, future: concurrent.futures.Future[Any]) -> Started:
        try:
            started: Started = unwrap(future.result())
            return started
        except SparkModelError:
            raise
        except ray.exceptions.RuntimeEnvSetupError as error:
            raise ModelEnvironmentError(
                f"Cannot make the environment of model '{self._name}'",
                "its requirements could not be installed",
                "look at the end of the installer's output below; env_manager='local' uses the workers' own libraries",
                str(error)[-5000:],
            ) from error
        except (ray.exceptions.RayError, ChildLost) as error:
            raise self._not_ready(
                "a worker died while it loaded the model", "look into the worker's log", str(error)
            ) from error

    def _not_ready(self, fact: str, hint: str, details: str = "") -> PoolNotReadyError:
        return PoolNotReadyError(f"Cannot make model '{self._name}' ready", fact, hint, details)

    def progress(self, members: Sequence[Member]) -> int:
        return sum(member.started.done() for member in _ours(members))

    def wait_dead(self, members: Sequence[Member], timeout_s: float) -> list[Member]:
        lifelines = {member.lifeline: member for member in _ours(members)}
        done, _ = concurrent.futures.wait(lifelines, timeout_s, concurrent.futures.FIRST_COMPLETED)
        return [lifelines[future] for future in done]


def _ours(members: Sequence[Member]) -> list[ForkedMember | ActorMember]:
    return [member for member in members if isinstance(member, ForkedMember | ActorMember)]


def runtime_env(spec: ModelSpec) -> dict[str, Any]:
    """What Ray is to set up on a node before the model's workers start there, once for all of them."""
    options = spec.options
    environment = dict(options.runtime_env or {})
    if options.extra_env:
        environment["env_vars"] = {**environment.get("env_vars", {}), **options.extra_env}
    if options.env_manager != "local":
        installer = {"virtualenv": "pip", "uv": "uv"}[options.env_manager]
        environment[installer] = list(spec.requirements)
        environment["config"] = {"setup_timeout_seconds": int(options.ready_timeout_s) + 1}
    return environment


def _has_room(bundle: Mapping[str, float]) -> bool:
    """Whether one more worker would fit: then Ray is only slow to place it, as on a machine under load."""
    free = resources(ray.available_resources)
    return all(free.get(key, 0) >= value for key, value in bundle.items())
