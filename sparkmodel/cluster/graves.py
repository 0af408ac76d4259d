# SPDX-License-Identifier: Apache-2.0
"""What a supervisor leaves that has ended for good: reservations, actors, records. Anybody may clear it up."""

from __future__ import annotations

import ray

from sparkmodel.cluster.nodes import named
from sparkmodel.cluster.records import Deeds
from sparkmodel.cluster.reservations import give_back


def bury(namespace: str, supervisor: str) -> None:
    """Leave nothing of it. Its forks end by themselves, as nobody comes for them.

    Args:
        namespace: Of its name.
        supervisor: Its name.
    """
    for name in named(namespace, f"{supervisor}:"):
        try:
            ray.kill(ray.get_actor(name, namespace=namespace))
        except ValueError:  # it has just ended by itself
            continue
    give_back(f"{supervisor}:")
    deeds = Deeds(namespace, supervisor)
    for deed in deeds.all():
        deeds.remove(deed.pool_id)
