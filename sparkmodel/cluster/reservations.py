# SPDX-License-Identifier: Apache-2.0
"""The reservations of one pool: placement groups, by names that whoever comes next can tell whose they are."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import ray
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

NOTHING = "nothing-"  # what the name of a slot begins with that reserves nothing
_GONE_S, _LOOK_S = 10.0, 0.05


class Reservations:
    """Slots by name.

    Args:
        prefix: What the names of this pool's begin with.
        detached: Whether they outlive the driver.
        lost: Gives the nodes that do not answer, though Ray has not given them up yet.
    """

    def __init__(self, prefix: str, detached: bool, lost: Callable[[], Collection[str]] = tuple) -> None:
        self._lost = lost
        self._prefix, self._lifetime = prefix, "detached" if detached else None
        self._lock = threading.Lock()
        self._groups: dict[str, PlacementGroup] = {}

    def make(self, count: int, bundle: Mapping[str, float]) -> list[str]:
        """Ask for slots; they are to be waited for."""
        slots = [f"{self._prefix}{secrets.token_hex(6)}" for _ in range(count)]
        targets = self._targets(bundle)
        for slot in slots:
            target = min(targets, key=lambda node: targets[node], default=None)
            if target is not None:
                targets[target] += 1
            group = placement_group(
                [dict(bundle)],
                strategy="STRICT_PACK",
                name=slot,
                lifetime=self._lifetime,
                _soft_target_node_id=target,  # Ray would fill one node first; where that one is full, it takes another
            )
            with self._lock:
                self._groups[slot] = group
        return slots

    def _targets(self, bundle: Mapping[str, float]) -> dict[str, int]:
        """The nodes that a slot could be on, each with how many slots of this pool it has."""
        ask: Any = ray.nodes
        targets = {node: 0 for node in large_enough(ask(), bundle)}
        table: Any = placement_group_table()
        for group in table.values():
            node = group["bundles_to_node_id"].get(0)
            if group["state"] == "CREATED" and str(group["name"]).startswith(self._prefix) and node in targets:
                targets[node] += 1
        lost = self._lost()
        return {node: count for node, count in targets.items() if node not in lost} or targets

    def wait(self, slot: str, timeout_s: float) -> bool:
        """Whether it is there within the time."""
        group = self.group(slot)
        return group is not None and bool(group.wait(timeout_s))

    def group(self, slot: str) -> PlacementGroup | None:
        """The placement group; None for one that reserves nothing."""
        if slot.startswith(NOTHING):
            return None
        with self._lock:
            group = self._groups.get(slot)
            if group is None:
                group = self._groups[slot] = get_placement_group(slot)
            return group

    def node_of(self, slot: str) -> str | None:
        """Ray's id of the node that it is on."""
        group = self.group(slot)
        if group is None:
            return None
        table: Any = placement_group_table(group)
        node: str = table["bundles_to_node_id"][0]
        return node

    def release(self, slots: Sequence[str]) -> None:
        """Give them back, whether they are there yet or not."""
        for slot in slots:
            with contextlib.suppress(ValueError):  # it has gone already
                group = self.group(slot)
                if group is not None:
                    remove_placement_group(group)
            with self._lock:
                self._groups.pop(slot, None)

    def sweep(self, slots: Sequence[str]) -> None:
        """Give back all but these, whoever made them."""
        self.release([slot for slot in reserved(self._prefix) if slot not in slots])


def large_enough(nodes: Sequence[Mapping[str, Any]], bundle: Mapping[str, float]) -> list[str]:
    """Ids of the nodes that live and have what is asked for; a head without CPUs is none, nor one without the GPU."""
    living = [node for node in nodes if node["Alive"]]
    return [
        str(node["NodeID"])
        for node in living
        if all(node["Resources"].get(name, 0.0) >= amount for name, amount in bundle.items())
    ]


def reserved(prefix: str) -> list[str]:
    """Names of the reservations that begin so."""
    table: Any = placement_group_table()
    names = [str(group["name"]) for group in table.values() if group["state"] != "REMOVED"]
    return [name for name in names if name.startswith(prefix)]


def give_back(prefix: str) -> None:
    """Give back all reservations whose names begin so, and wait until others can have them."""
    for name in reserved(prefix):
        with contextlib.suppress(ValueError):  # it has gone already
            remove_placement_group(get_placement_group(name))
    deadline = time.monotonic() + _GONE_S
    while reserved(prefix) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def resources(ask: Any) -> Mapping[str, float]:
    """What Ray answers, with a type."""
    found: Mapping[str, float] = ask()
    return found
