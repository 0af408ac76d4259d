# SPDX-License-Identifier: Apache-2.0
"""The last step: what was planned is served by a new pool, or a pool is told what it is to serve."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from sparkmodel.errors import ModelNotFoundError, RevisionChangedError
from sparkmodel.keeper import pools
from sparkmodel.loaders import Resolved
from sparkmodel.loaders.successor import successor
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.registration.plan import Planned, Planner, check_follows, plan
from sparkmodel.registration.progress import DeployProgress
from sparkmodel.registration.rollout import AT_ONCE, Rollout
from sparkmodel.registration.settle import Asked
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Revision

T = TypeVar("T")
_TRIES = 10  # of who changes what somebody else changes at the same time


def serve(
    planned: Planned,
    *,
    moving: pools.Pool | None = None,
    progress: bool | None = None,
    watch: Callable[[], None] | None = None,
) -> pools.Pool:
    """Serve what was planned.

    Args:
        planned: What to serve, all of which its user wrote.
        moving: The pool that serves it instead of what it serves now; None starts one.
        progress: None shows it on terminals only.
        watch: Is called from time to time while a new pool starts; what it raises ends that.

    Returns:
        The pool.

    Raises:
        SparkModelError: nothing has changed then.
    """
    spec, payload, directory = planned.spec, planned.resolved.payload, planned.resolved.directory
    # a master that has begun to move its pool goes on, whoever waits for it
    with DeployProgress(spec.name, progress, watch if moving is None else None) as shown:
        if moving is None:
            return pools.deploy(spec, payload, shown, directory)
        moving.change(Intent(kind="replace", spec=spec, allow_new_inputs=True), payload, shown, directory)
        return moving


def move(
    pool: pools.Pool,
    asked: Callable[[ModelSpec], Asked],
    *,
    rollout: Rollout = AT_ONCE,
    expect: Revision | None = None,
    progress: bool | None = None,
    planner: Planner = plan,
) -> Applied:
    """Have a pool serve another source, with all else as it is. What all else is, its master knows, not who asks.

    Args:
        pool: The pool.
        asked: The source, given what is served now.
        rollout: How it goes there.
        expect: The pool's revision, if the source rests on what is served.
        progress: None shows it on terminals only.
        planner: Settles it.

    Raises:
        ResultTypeChangedError, InputsChangedError: it would break plans that are there.
        RevisionChangedError: the pool is not what was expected.
        SparkModelError: it cannot be served; the pool is as it was.
    """
    spec, _ = pool.spec()

    def make(resolved: Resolved) -> ModelSpec:  # what is wrong already is said before anything is shipped
        following = successor(spec, resolved, rollout.allow_new_inputs)
        check_follows(following.options, following.source)
        return following

    with planner(pool.name, asked(spec), make) as planned:
        resolved = planned.resolved
        told = dataclasses.replace(
            resolved,
            payload=None,
            directory=None,
            requirements={spec.options.env_manager: planned.spec.requirements},
        )
        intent = Intent(kind="source", source=told, expect=expect, **rollout.fields())
        with DeployProgress(pool.name, progress) as shown:
            return pool.change(intent, resolved.payload, shown, resolved.directory)


def again(pool: pools.Pool, change: Callable[[Revision], T]) -> T:
    """Make a change that rests on what a pool is, anew if somebody else has changed it meanwhile.

    Args:
        pool: The pool.
        change: Reads what the pool is, and changes it if its revision is still the given one.

    Raises:
        RevisionChangedError: others were faster each time.
    """
    for _ in range(_TRIES - 1):
        try:
            return change(pool.handle().pool.directory.revision)
        except RevisionChangedError:
            continue
    return change(pool.handle().pool.directory.revision)


def find(name: str) -> pools.Pool | None:
    """The pool of that name, None if there is none."""
    try:
        return pools.find(name)
    except ModelNotFoundError:
        return None
