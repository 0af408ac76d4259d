# SPDX-License-Identifier: Apache-2.0
"""The supervisors of this process's pools: one that ends with it, one for pools that do not."""

from __future__ import annotations

import os
import secrets
import threading
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sparkmodel.cluster.answers import lives
from sparkmodel.cluster.connection import Runtime
from sparkmodel.cluster.graves import bury
from sparkmodel.cluster.nodes import BOUND, DETACHED
from sparkmodel.cluster.supervisor import SupervisorActor

_lock = threading.Lock()


def of(runtime: Runtime, detached: bool) -> tuple[str, Any]:
    """The supervisor, made now if there is none that lives.

    Args:
        runtime: This process's connection.
        detached: Whether its pools outlive this process.

    Returns:
        Its name, and the actor.
    """
    with _lock:
        label, actor = runtime.supervisors.get(detached, ("", None))
        if actor is not None:
            if lives(actor.pid.remote()):
                return label, actor
            bury(runtime.namespace, label)
        context: Any = ray.get_runtime_context()
        label = (DETACHED if detached else BOUND) + secrets.token_hex(4)
        actor = SupervisorActor.options(
            name=label,
            namespace=runtime.namespace,
            lifetime="detached" if detached else None,
            scheduling_strategy=NodeAffinitySchedulingStrategy(context.get_node_id(), soft=True),
        ).remote(
            runtime.namespace,
            label,
            str(runtime.scratch.path) if runtime.scratch else "",
            runtime.spares,
            os.environ.get("SPARKMODEL_CRASH_AT", ""),
        )
        runtime.supervisors[detached] = label, actor
        return label, actor


def warm(runtime: Runtime) -> None:
    """On a local Ray, which is there for pools alone, have a supervisor and its spares start before the first pool."""
    if runtime.is_local and runtime.spares:
        of(runtime, detached=False)
