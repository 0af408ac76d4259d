# SPDX-License-Identifier: Apache-2.0
"""The supervisors of this process's pools: one that ends with it, one for pools that do not."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from ray.util.placement_group import get_placement_group, placement_group_table, remove_placement_group

from sparkmodel.cluster.answers import lives
from sparkmodel.cluster.connection import Runtime
from sparkmodel.cluster.supervisor import SupervisorActor

BOUND, DETACHED = "sparkmodel-bound-", "sparkmodel-detached-"

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
            _sweep(label)
        label = (DETACHED if detached else BOUND) + secrets.token_hex(4)
        actor = SupervisorActor.options(
            name=label, namespace=runtime.namespace, lifetime="detached" if detached else None
        ).remote(runtime.namespace, label, str(runtime.scratch.path) if runtime.scratch else "", runtime.spares)
        runtime.supervisors[detached] = label, actor
        return label, actor


def warm(runtime: Runtime) -> None:
    """On a local Ray, which is there for pools alone, have a supervisor and its spares start before the first pool."""
    if runtime.is_local and runtime.spares:
        of(runtime, detached=False)


def _sweep(label: str) -> None:
    """Give back what a supervisor that was killed had reserved: Ray keeps it as long as this driver lives."""
    table: Any = placement_group_table()
    for group in table.values():
        if str(group["name"]).startswith(f"{label}:") and group["state"] != "REMOVED":
            remove_placement_group(get_placement_group(group["name"]))
