# SPDX-License-Identifier: Apache-2.0
"""Which nodes a worker can be on."""

from __future__ import annotations

from typing import Any

from sparkmodel.cluster.reservations import large_enough


def test_a_node_that_has_not_what_is_asked_for_takes_no_part_in_the_turns() -> None:
    """A head without CPUs: it was given its turn as an empty node, and the pool got both workers on one other node."""

    def node(name: str, is_alive: bool = True, **resources: float) -> dict[str, Any]:
        return {"NodeID": name, "Alive": is_alive, "Resources": {"memory": 1e9, **resources}}

    nodes = [node("head"), node("a", CPU=1.0), node("b", CPU=2.0, GPU=1.0), node("dead", is_alive=False, CPU=4.0)]
    assert large_enough(nodes, {"CPU": 0.5}) == ["a", "b"]
    assert large_enough(nodes, {"CPU": 2.0}) == ["b"]
    assert large_enough(nodes, {"CPU": 0.5, "GPU": 1.0}) == ["b"]
    assert large_enough(nodes, {"CPU": 64.0}) == []
