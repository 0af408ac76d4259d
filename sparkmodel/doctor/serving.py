# SPDX-License-Identifier: Apache-2.0
"""The pools that there are."""

from __future__ import annotations

from collections.abc import Iterator

from sparkmodel.doctor.finding import FAIL, OK, WARN, Finding
from sparkmodel.doctor.scene import Scene

_WELL = ("ready", "cold")


def check_pools(scene: Scene) -> Iterator[Finding]:
    """Whether each serves."""
    for pool in scene.pools:
        name, state = f"model '{pool['name']}'", pool.get("state", "")
        if pool.get("error"):
            yield Finding("pools", FAIL, f"{name} does not answer: {pool['error']}", "register it again", "Ray")
            continue
        silent = sum(not worker.get("answers", True) for worker in pool["workers"])
        fact = f"{name} is {state}, version {pool['version']}, {len(pool['workers'])} workers"
        if pool.get("last_error"):
            fact += f"; the last error: {pool['last_error']}"
        if state in _WELL and not silent:
            yield Finding("pools", OK, fact, place="Ray")
        else:
            silence = f", {silent} of them silent" if silent else ""
            hint = f"look at sm.get('{pool['name']}').describe() and at Ray's logs of its supervisor"
            yield Finding("pools", WARN, fact + silence, hint, "Ray")
    if scene.nodes and not scene.pools:
        yield Finding("pools", OK, "none", place="Ray")
