# SPDX-License-Identifier: Apache-2.0
"""The nodes on which a supervisor has workers forked."""

from __future__ import annotations

import itertools
import pathlib
import threading
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sparkmodel.cluster.answers import lives
from sparkmodel.cluster.host import Host, HostActor
from sparkmodel.cluster.members import CONTROL_S, Far, Near, Node


class Nodes:
    """A `Host` here and a `HostActor` on each other node that workers are placed on.

    Args:
        root: Directory of a local Ray; None on a cluster.
        address: Of this node.
        spares: Processes that each node keeps ready; with 0 no worker is forked.
    """

    def __init__(self, root: pathlib.Path | None, address: str, spares: int) -> None:
        self.root, self.is_local, self.forks = root, root is not None, spares > 0
        self._spares = spares
        context: Any = ray.get_runtime_context()
        self._here = str(context.get_node_id())
        self._host = Host(root, address, spares) if self.forks else None
        self._lock = threading.Lock()
        self._far: dict[str, Any] = {}
        self._turns = itertools.count()
        if self._host is not None:
            self._host.spares.open()

    def of(self, node: str | None) -> Node:
        """The node of that id; for a worker that reserves nothing, one after the other."""
        if node is None:
            node = self._here if self.is_local else self._next()
        if node == self._here:
            assert self._host is not None
            return Near(self._host)
        with self._lock:
            if node not in self._far or not lives(self._far[node].describe.remote()):
                strategy = NodeAffinitySchedulingStrategy(node, soft=False)
                self._far[node] = HostActor.options(scheduling_strategy=strategy).remote(self._spares)
            return Far(self._far[node])

    def describe(self) -> dict[str, Any]:
        """What is kept ready, by node."""
        if self._host is None:
            return {}
        with self._lock:
            asked = {node: actor.describe.remote() for node, actor in self._far.items()}
        told = {self._here: self._host.describe().result()}
        for node, answer in asked.items():
            try:
                told[node] = ray.get(answer, timeout=CONTROL_S)
            except ray.exceptions.RayError:  # its node has gone
                continue
        return told

    def close(self) -> None:
        """End all workers and all that is kept ready."""
        if self._host is not None:
            self._host.close()
        for actor in self._far.values():
            actor.close.remote()

    def _next(self) -> str:
        ask: Any = ray.nodes
        alive = sorted(str(node["NodeID"]) for node in ask() if node["Alive"])
        return alive[next(self._turns) % len(alive)]
