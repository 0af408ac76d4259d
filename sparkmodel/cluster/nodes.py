# SPDX-License-Identifier: Apache-2.0
"""The nodes on which a supervisor has workers forked."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import threading
from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

import ray
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sparkmodel.cluster.answers import lives
from sparkmodel.cluster.home import Home
from sparkmodel.cluster.host import Host, HostActor
from sparkmodel.cluster.members import CONTROL_S, DOES_NOT_ANSWER
from sparkmodel.cluster.orphans import orphan_s
from sparkmodel.cluster.places import Far, Near, Node
from sparkmodel.cluster.reservations import give_back, reserved
from sparkmodel.cluster.worker_process import Seat, Started

BOUND, DETACHED = "sparkmodel-bound-", "sparkmodel-detached-"  # what the names of supervisors begin with
_ID = 8  # digits of Ray's id of a node that tell it from others

Adopted = tuple[Node, Seat, Started]


class Nodes:
    """A `Host` here and a `HostActor` on each other node that workers are placed on.

    Args:
        root: Directory of a local Ray; None on a cluster.
        address: Of this node.
        spares: Processes that each node keeps ready; with 0 no worker is forked.
        label: Name of the supervisor: by it the next one finds what this one has left.
        namespace: Of that name.
    """

    def __init__(self, root: pathlib.Path | None, address: str, spares: int, label: str, namespace: str) -> None:
        self.is_local, self.forks = root is not None, spares > 0
        self.label, self.namespace = label, namespace
        self._spares, self._home = spares, label.rpartition("-")[2]
        context: Any = ray.get_runtime_context()
        self._here = str(context.get_node_id())
        home = root or Home(self._home, orphan_s())
        self._host = Host(home, address, spares)
        self.scratch, self.root = root, self._host.root
        self._lock = threading.Lock()
        self._far: dict[str, Far] = {}
        self._turns = itertools.count()
        self._adopted: list[Adopted] = []

    @property
    def is_detached(self) -> bool:
        """Whether the pools here outlive the driver."""
        return self.label.startswith(DETACHED)

    def open(self) -> None:
        """Begin to keep processes ready."""
        self._host.spares.open()

    def adopt(self) -> None:
        """Find the workers that a supervisor before this one had forked, and that serve; others are ended."""
        asked: list[tuple[Node, Future[Any]]] = [(Near(self._host), self._host.adopt())]
        for name in named(self.namespace, f"{self.label}:host:"):
            try:
                actor = ray.get_actor(name, namespace=self.namespace)
            except ValueError:  # it has just ended
                continue
            far = self._far[name.rpartition(":")[2]] = Far(actor)
            asked.append((far, far.ask("adopt")))
        for node, answer in asked:
            try:
                self._adopted += [(node, seat, started) for seat, started in answer.result(CONTROL_S)]
            except DOES_NOT_ANSWER:  # its workers end with it
                continue

    def claim(self, pool_id: str) -> list[Adopted]:
        """Those of one pool that `adopt` has found."""
        mine = [one for one in self._adopted if one[1].pool_id == pool_id]
        self._adopted = [one for one in self._adopted if one[1].pool_id != pool_id]
        return mine

    def disown(self, pool_ids: Collection[str]) -> None:
        """End what is left of pools but these."""
        adopted, self._adopted = self._adopted, []
        for node, seat, _ in adopted:
            node.ask("kill", seat.key)
        for name in named(self.namespace, f"{self.label}:worker:"):
            if name.split(":")[2] not in pool_ids:
                with contextlib.suppress(ValueError):  # it has just ended
                    ray.kill(ray.get_actor(name, namespace=self.namespace))
        for slot in reserved(f"{self.label}:"):
            if slot.split(":")[1] not in pool_ids:
                give_back(slot)

    def of(self, node: str | None) -> Node:
        """The node of that id; for a worker that reserves nothing, one after the other."""
        if node is None:
            node = self._here if self.is_local else self._next()
        if node == self._here:
            return Near(self._host)
        with self._lock:
            far = self._far.get(node)
            if far is None or not (far.is_lost or lives(far.actor.describe.remote())):
                actor = HostActor.options(
                    name=f"{self.label}:host:{node}",
                    namespace=self.namespace,
                    lifetime="detached",
                    get_if_exists=True,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                ).remote(f"{self._home}-{node[:_ID]}", self._spares, self.label, self.namespace)
                self._far[node] = Far(actor)
            return self._far[node]

    def lost(self) -> set[str]:
        """Nodes of which nothing is heard."""
        with self._lock:
            return {node for node, far in self._far.items() if far.is_lost}

    def is_here(self, node: Node) -> bool:
        """Whether it is the node of this process."""
        return isinstance(node, Near)

    def describe(self) -> dict[str, Any]:
        """What is kept ready, by node."""
        if not self.forks:
            return {}
        with self._lock:
            asked = {node: far.actor.describe.remote() for node, far in self._far.items()}
        told = {self._here: self._host.describe().result()}
        for node, answer in asked.items():
            try:
                told[node] = ray.get(answer, timeout=CONTROL_S)
            except ray.exceptions.RayError:  # its node has gone
                continue
        return told

    def close(self) -> None:
        """End all workers and all that is kept ready."""
        self._host.close()
        with self._lock:
            far, self._far = self._far, {}
        closing = [one.actor.close.remote() for one in far.values()]
        ray.wait(closing, num_returns=len(closing), timeout=CONTROL_S) if closing else None
        for one in far.values():
            ray.kill(one.actor)

    def _next(self) -> str:
        ask: Any = ray.nodes
        alive = sorted(str(node["NodeID"]) for node in ask() if node["Alive"])
        return alive[next(self._turns) % len(alive)]


def named(namespace: str, prefix: str) -> list[str]:
    """Names of the actors that live and have such a name."""
    found: Any = list_named_actors(all_namespaces=True)
    return sorted(a["name"] for a in found if a["namespace"] == namespace and a["name"].startswith(prefix))
