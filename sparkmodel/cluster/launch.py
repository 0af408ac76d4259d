# SPDX-License-Identifier: Apache-2.0
"""Places workers, and starts them.

A slot is a placement group of one bundle with the resources of one worker. A fork on its node takes the place of an
actor in it; an actor asks for none of its CPUs and for half of its GPUs, so the next version's finds room beside it.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import pathlib
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.children import ChildLost
from sparkmodel.cluster.members import ActorMember, ForkedMember
from sparkmodel.cluster.nodes import Nodes
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


class RayLauncher:
    """Starts the workers of one pool on a Ray cluster. Must live in an actor: what it starts dies with it.

    Args:
        name: The model's name.
        token: The pool's secret.
        nodes: Where forks live.
        label: What the names of reservations begin with: whose they are.
        identity: What workers serve TLS with, if at all.
    """

    def __init__(self, name: str, token: str, nodes: Nodes, label: str, identity: Identity | None) -> None:
        self._name, self._token, self._nodes, self._label = name, token, nodes, label
        self._identity, self._numbers = identity, itertools.count(1)

    def reserve(self, count: int, bundle: Mapping[str, float], timeout_s: float, stopped: threading.Event) -> list[Any]:
        if not bundle:
            return [None] * count  # the worker asks for nothing
        began = time.monotonic()
        before = _resources(ray.available_resources)
        names = [f"{self._label}:{next(self._numbers)}" for _ in range(count)]
        groups = [placement_group([dict(bundle)], name=name) for name in names]
        try:
            for group in groups:
                look_s = _FIRST_LOOK_S
                while not group.wait(look_s):
                    look_s = _LOOK_S
                    waited_s = time.monotonic() - began
                    is_hopeless = self._nodes.is_local and waited_s > _LOCAL_PLACE_S and not _has_room(bundle)
                    if is_hopeless or waited_s > timeout_s:
                        raise self._not_placed(count, bundle, waited_s, before)
                    if stopped.is_set():
                        raise PoolGoneError(f"Cannot place model '{self._name}'", "its pool was dropped")
        except BaseException:
            self.release(groups)
            raise
        return groups

    def _not_placed(
        self, count: int, bundle: Mapping[str, float], waited_s: float, free: Mapping[str, float]
    ) -> PoolNotPlacedError:
        total = _resources(ray.cluster_resources)
        asked = ", ".join(f"{key} {value * count:g}" for key, value in bundle.items())
        there = ", ".join(f"{key} {free.get(key, 0):g} free of {total.get(key, 0):g}" for key in bundle)
        return PoolNotPlacedError(
            f"Cannot place {count} workers of model '{self._name}'",
            f"asked for {asked} in total, there is {there} (waited {waited_s:.0f} s)",
            "lower workers, num_cpus (fractions count) or num_gpus, or give a local Ray more: sm.init(num_cpus=n)",
        )

    def release(self, slots: Sequence[Any]) -> None:
        for slot in slots:
            if slot is not None:
                remove_placement_group(slot)

    def start(self, spec: ModelSpec, version: int, payload: Any, slot: Any) -> Member:
        seat = Seat(
            spec=spec,
            version=version,
            token=self._token,
            root=pathlib.Path(),  # both are the node's
            host="",
            identity=self._identity,
        )
        environment = runtime_env(spec)
        if self._nodes.forks and not environment and not spec.options.num_gpus and threads_of(spec) == 1:
            return ForkedMember(self._nodes.of(_node_of(slot)), seat, payload or [], slot)
        # another process than a fork would be: other libraries or variables, a GPU, more threads
        options: dict[str, Any] = {"num_cpus": 0, "num_gpus": spec.options.num_gpus / 2}
        if slot is not None:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(slot)
        if environment:
            options["runtime_env"] = environment
        actor = WorkerActor.options(**options).remote(seat, str(self._nodes.root) if self._nodes.root else "")
        return ActorMember(actor, payload or [], slot)

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
                member, started = pending.pop(future), self._started(future)
                member.endpoint, member.feature_names = started.endpoint, started.feature_names

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
    free = _resources(ray.available_resources)
    return all(free.get(key, 0) >= value for key, value in bundle.items())


def _resources(ask: Any) -> Mapping[str, float]:
    found: Mapping[str, float] = ask()
    return found


def _node_of(slot: Any) -> str | None:
    """Ray's id of the node that a reservation is on."""
    if slot is None:
        return None
    table: Any = placement_group_table(slot)
    node: str = table["bundles_to_node_id"][0]
    return node
