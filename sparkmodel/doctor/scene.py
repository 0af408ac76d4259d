# SPDX-License-Identifier: Apache-2.0
"""What all checks look at, gathered once."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sparkmodel.doctor import facts
from sparkmodel.doctor.finding import HERE, Finding


@dataclasses.dataclass
class Scene:
    """What was seen.

    Attributes:
        here: Facts of this process: see `sparkmodel.doctor.facts.collect`.
        executors: Those of Spark's, by place.
        nodes: Those of Ray's nodes, by place.
        pools: What each pool says of itself: see `sparkmodel.cluster.survey`.
        graves: Names of supervisors that have ended and left something on the cluster, with what.
        address: Of Ray; None if it was not to be asked.
        master: Of Spark; None if it was not to be asked.
        lost: Checks that could not be made, as findings.
        environ: Of this process.
        home: Of this user.
    """

    here: Mapping[str, Any]
    executors: dict[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    nodes: dict[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    pools: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    graves: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    address: str | None = None
    master: str | None = None
    lost: list[Finding] = dataclasses.field(default_factory=list)
    environ: Mapping[str, str] = dataclasses.field(default_factory=lambda: os.environ)
    home: pathlib.Path = dataclasses.field(default_factory=pathlib.Path.home)

    def places(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """All facts, by where they are from."""
        yield HERE, self.here
        yield from self.executors.items()
        yield from self.nodes.items()

    def machines(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Those of them that see other files, processes and sockets than the ones before."""
        seen = set()
        for place, told in self.places():
            if told["machine"] not in seen:
                seen.add(told["machine"])
                yield place, told

    def others(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """All but those of this process."""
        yield from self.executors.items()
        yield from self.nodes.items()

    def endpoints(self) -> list[tuple[str, int]]:
        """Where pools are reached."""
        return sorted({(str(host), int(port)) for pool in self.pools for host, port in pool.get("endpoints", ())})


Check = Callable[[Scene], Iterable[Finding]]


def look_here(**told: Any) -> Scene:
    """The scene of this process alone."""
    return Scene(here=facts.collect([]), **told)
