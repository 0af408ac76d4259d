# SPDX-License-Identifier: Apache-2.0
"""How long what a supervisor left behind waits for the next one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import ray

_ORPHAN_S = 30.0
_LOOKS = 10


def orphan_s() -> float:
    """Seconds that workers and their directories wait for the next supervisor before they end."""
    return float(os.environ.get("SPARKMODEL_ORPHAN_S", _ORPHAN_S))


def when_orphaned(supervisor: str, namespace: str, end: Callable[[], None]) -> None:
    """Have an actor end when its supervisor has ended for good: Ray knows of each, and restarts one that was killed.

    Args:
        supervisor: Its name as an actor.
        namespace: Of that name.
        end: Called once; it should end the process.
    """

    def look() -> None:
        absent = 0
        while absent < 2:  # one answer may have been given while Ray was about to do something else
            threading.Event().wait(orphan_s() / _LOOKS)
            try:
                ray.get_actor(supervisor, namespace=namespace)
                absent = 0
            except ValueError:
                absent += 1
            except ray.exceptions.RayError:  # Ray does not answer; where it has ended, it ends this process
                continue
        end()

    threading.Thread(target=look, name="sparkmodel-orphan", daemon=True).start()
