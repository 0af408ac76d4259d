# SPDX-License-Identifier: Apache-2.0
"""What actors answer. Errors cross as values, not as exceptions: so they arrive as the class they left as."""

from __future__ import annotations

from typing import Any

import ray

from sparkmodel.errors import SparkModelError
from sparkmodel.wire.addresses import advertised

_PING_S = 10.0


def unwrap(answer: dict[str, Any]) -> Any:
    """The value that an actor's method gave, or the error that it gave instead, raised."""
    if "error" in answer:
        raise SparkModelError.from_dict(answer["error"])
    return answer["value"]


def host(scratch: str) -> str:
    """What callers are told: loopback on a Ray that the driver started for itself, the one with a scratch directory."""
    find_address: Any = ray.util.get_node_ip_address
    return "127.0.0.1" if scratch else advertised(str(find_address()))


def wrap(method: Any, *args: Any) -> dict[str, Any]:
    """What `unwrap` takes: the method's value, or its error."""
    try:
        return {"value": method(*args)}
    except SparkModelError as error:
        return {"error": error.to_dict()}


def lives(answer: Any) -> bool:
    """Whether the actor that was asked for this answer lives; one that is busy, or being started again, does.

    Ray finds an actor by its name for some time after it has died: so it is asked.
    """
    try:
        ray.get(answer, timeout=_PING_S)
    except (ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnavailableError):
        return True
    except ray.exceptions.RayError:
        return False
    return True
