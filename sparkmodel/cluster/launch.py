# SPDX-License-Identifier: Apache-2.0
"""Places and starts workers as Ray actors.

A slot is a placement group of one bundle with the resources of one worker. The actor in it asks for none of its CPUs
and for half of its GPUs, so the next version's actor finds room beside it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.worker_actor import WorkerActor
from sparkmodel.errors import ModelEnvironmentError, PoolNotPlacedError, PoolNotReadyError, SparkModelError
from sparkmodel.pool.launcher import Member
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.service import Directory
from sparkmodel.wire.tls import Identity

_LOCAL_PLACE_S = 5.0  # a local Ray does not grow: what is not free by then will not be soon
_LOOK_S = 0.25
_CONTROL_S = 10.0  # for a worker to answer a control call; its batches go elsewhere meanwhile


class RayMember:
    """A worker actor."""

    def __init__(self, actor: Any, slot: Any, payload: list[Any]) -> None:
        self.actor, self.slot = actor, slot
        self.endpoint: tuple[str, int] = ("", 0)
        self.started = actor.start.remote(payload)
        self.lifeline = actor.park.remote()

    def publish(self, directory: Directory) -> None:
        self.actor.publish.remote(directory)

    def stats(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = ray.get(self.actor.stats.remote(), timeout=_CONTROL_S)
            return answer
        except ray.exceptions.RayError:  # dead or stuck; the supervisor deals with it
            return {}

    def close(self, drain_s: float) -> None:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self.actor.close.remote(drain_s), timeout=drain_s + _CONTROL_S)
        ray.kill(self.actor)
        ray.wait([self.lifeline], timeout=_CONTROL_S)


class RayLauncher:
    """Starts `WorkerActor`s on a Ray cluster. Must live in an actor: what it starts dies with it."""

    def __init__(self, name: str, token: str, scratch: str, identity: Identity | None) -> None:
        self._name, self._token, self._scratch, self._identity = name, token, scratch, identity

    def reserve(self, count: int, bundle: Mapping[str, float], timeout_s: float) -> list[Any]:
        if not bundle:
            return [None] * count  # the worker asks for nothing
        began = time.monotonic()
        before = _resources(ray.available_resources)
        groups = [placement_group([dict(bundle)]) for _ in range(count)]
        for group in groups:
            while not group.wait(_LOOK_S):
                waited_s = time.monotonic() - began
                is_hopeless = self._scratch and waited_s > _LOCAL_PLACE_S and not _has_room(bundle)
                if is_hopeless or waited_s > timeout_s:
                    self.release(groups)
                    raise self._not_placed(count, bundle, waited_s, before)
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

    def start(self, spec: ModelSpec, version: int, payload: Any, slot: Any) -> RayMember:
        options: dict[str, Any] = {"num_cpus": 0, "num_gpus": spec.options.num_gpus / 2}
        if slot is not None:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(slot)
        environment = runtime_env(spec)
        if environment:
            options["runtime_env"] = environment
        actor = WorkerActor.options(**options).remote(spec, version, self._token, self._scratch, self._identity)
        return RayMember(actor, slot, payload or [])

    def join(self, members: Sequence[Member], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        pending = {member.started: member for member in members if isinstance(member, RayMember)}
        while pending:
            left = deadline - time.monotonic()
            done, _ = ray.wait(list(pending), timeout=max(0.0, left))
            if not done:
                raise self._not_ready(
                    f"{len(pending)} of {len(members)} workers were not loaded within {timeout_s:.0f} s",
                    "raise ready_timeout_s",
                )
            for ref in done:
                pending.pop(ref).endpoint = self._endpoint(ref)

    def _endpoint(self, ref: Any) -> tuple[str, int]:
        try:
            endpoint: tuple[str, int] = unwrap(ray.get(ref))
            return endpoint
        except SparkModelError:
            raise
        except ray.exceptions.RuntimeEnvSetupError as error:
            raise ModelEnvironmentError(
                f"Cannot make the environment of model '{self._name}'",
                "its requirements could not be installed",
                "look at the end of the installer's output below; env_manager='local' uses the workers' own libraries",
                str(error)[-5000:],
            ) from error
        except ray.exceptions.RayError as error:
            raise self._not_ready(
                "a worker died while it loaded the model", "look into the worker's log", str(error)
            ) from error

    def _not_ready(self, fact: str, hint: str, details: str = "") -> PoolNotReadyError:
        return PoolNotReadyError(f"Cannot make model '{self._name}' ready", fact, hint, details)

    def progress(self, members: Sequence[Member]) -> int:
        refs = [member.started for member in members if isinstance(member, RayMember)]
        return len(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) if refs else 0

    def wait_dead(self, members: Sequence[Member], timeout_s: float) -> list[Member]:
        lifelines = {member.lifeline: member for member in members if isinstance(member, RayMember)}
        done, _ = ray.wait(list(lifelines), num_returns=1, timeout=timeout_s)
        return [lifelines[ref] for ref in done]


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
