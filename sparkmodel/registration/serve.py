# SPDX-License-Identifier: Apache-2.0
"""The last step: what was planned is served, by a new pool or by one that moves to it."""

from __future__ import annotations

from collections.abc import Callable

from sparkmodel.errors import ModelNotFoundError
from sparkmodel.keeper import pools
from sparkmodel.registration.plan import Planned
from sparkmodel.registration.progress import DeployProgress


def serve(
    planned: Planned,
    *,
    moving: pools.Pool | None = None,
    progress: bool | None = None,
    watch: Callable[[], None] | None = None,
) -> pools.Pool:
    """Serve what was planned.

    Args:
        planned: What to serve.
        moving: The pool that moves to it; None starts one.
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
        moving.deploy(spec, payload, shown, directory)
        return moving


def find(name: str) -> pools.Pool | None:
    """The pool of that name, None if there is none."""
    try:
        return pools.find(name)
    except ModelNotFoundError:
        return None
