# SPDX-License-Identifier: Apache-2.0
"""The one way to a serving pool, for the Python API and for SQL: a new one, or an existing one that moves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from sparkmodel.cluster import pools
from sparkmodel.errors import ModelNotFoundError
from sparkmodel.loaders import Resolved
from sparkmodel.loaders.stores import stores
from sparkmodel.registration.progress import DeployProgress
from sparkmodel.spec import ModelSpec


def deploy(
    name: str,
    source: contextlib.AbstractContextManager[Resolved],
    make: Callable[[Resolved], ModelSpec],
    *,
    replace: bool,
    progress: bool | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    watch: Callable[[], None] | None = None,
) -> tuple[pools.Pool, bool]:
    """Serve a source under a name.

    Args:
        name: Of the pool.
        source: Settles the source; what it fetched is kept until it has been shipped.
        make: The spec for the settled source.
        replace: Move the pool of that name if there is one.
        progress: None shows it on terminals only.
        tracking_uri, registry_uri: MLflow's, where others than the process has are meant.
        watch: Is called from time to time while a new pool starts; what it raises ends that.

    Returns:
        The pool, and whether it is new.

    Raises:
        SparkModelError: nothing has changed then.
    """
    existing = find(name) if replace else None
    with contextlib.ExitStack() as stack:
        with stores(tracking_uri, registry_uri):
            resolved = stack.enter_context(source)
            spec = make(resolved)
        # a master that has begun to move its pool goes on, whoever waits for it
        shown = stack.enter_context(DeployProgress(name, progress, watch if existing is None else None))
        if existing is None:
            return pools.deploy(spec, resolved.payload, shown, resolved.directory), True
        existing.deploy(spec, resolved.payload, shown, resolved.directory)
        return existing, False


def find(name: str) -> pools.Pool | None:
    """The pool of that name, None if there is none."""
    try:
        return pools.find(name)
    except ModelNotFoundError:
        return None
