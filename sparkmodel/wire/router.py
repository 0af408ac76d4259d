# SPDX-License-Identifier: Apache-2.0
"""Which version and which worker get the next batch: the client's own choice, with no master on the way.

A call that is held to no version goes to one that answers its plan right, by weight, and stays there.
As long as a worker on this host is free, only those on this host are asked; else all are. Of two of them at random, the
one with fewer of our batches is taken, then the one on this host, then the one that was less loaded when it last
answered. So a model that keeps up stays near, and one that does not uses all workers.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import random
import socket
import time
from collections.abc import Callable, Collection

from sparkmodel.wire.connection import Connection
from sparkmodel.wire.directory import Directory, Endpoint, Revision

_AVOID_S = 1.0  # how long an endpoint that failed is left alone while another one works


@dataclasses.dataclass
class Route:
    """One endpoint as this process sees it."""

    endpoint: Endpoint
    is_local: bool = False
    in_flight: int = 0
    load: int = 0  # the worker's own count in its last answer: other callers' batches are in it
    avoid_until: float = 0.0
    idle: list[Connection] = dataclasses.field(default_factory=list)

    @property
    def is_free(self) -> bool:
        """Whether it takes a batch without delay: at most one of ours is there, and nobody's waited as it answered."""
        return self.in_flight < 2 and not self.load

    @property
    def cost(self) -> tuple[int, bool, int]:
        """Own batches under way first: the worker's count is older."""
        return self.in_flight, not self.is_local, self.load


class Router:
    """The routes of one pool. Its owner holds a lock around every call."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, is_local: Callable[[str], bool] | None = None
    ) -> None:
        self.directory = Directory(revision=Revision(-1, 0))
        self.routes: dict[Endpoint, Route] = {}
        self._by_version: dict[int, list[Route]] = {}
        self._clock, self._is_local = clock, is_local or is_here

    def update(self, directory: Directory) -> list[Connection]:
        """Take a newer directory; returns the idle connections to workers that are no longer in it."""
        if directory.revision <= self.directory.revision:
            return []
        self.directory = directory
        before, endpoints = self.routes, dict.fromkeys(directory.endpoints)
        self.routes = {key: before.get(key) or Route(key, self._is_local(key[0])) for key in endpoints}
        self._by_version = {
            served.version: [self.routes[endpoint] for endpoint in served.endpoints] for served in directory.served
        }
        return [connection for key, route in before.items() if key not in endpoints for connection in route.idle]

    def choose(self, digest: str, failed: Collection[Endpoint] = ()) -> int | None:
        """The version for a call that is held to none, None if none that suits its plan has a worker that works."""
        suited = [served for served in self.directory.served if served.weight > 0 and served.takes(digest)]
        able = [served for served in suited if self._usable(served.version, failed)]
        if len(able) < 2:
            return able[0].version if able else None
        return random.choices(able, [served.weight for served in able])[0].version

    def pick(self, version: int, failed: Collection[Endpoint] = ()) -> Route | None:
        """The worker of a version for the next batch, None if none works.

        Args:
            version: What is to answer it.
            failed: Endpoints that are not to be tried.
        """
        usable = self._usable(version, failed)
        if not usable:
            return None
        if any(route.is_local and route.is_free for route in usable):
            usable = [route for route in usable if route.is_local]
        if len(usable) == 1:
            return usable[0]
        first, second = usable if len(usable) == 2 else random.sample(usable, 2)
        if first.cost == second.cost:
            return first if random.random() < 0.5 else second
        return first if first.cost < second.cost else second

    def _usable(self, version: int, failed: Collection[Endpoint]) -> list[Route]:
        now = self._clock()
        routes = self._by_version.get(version, ())
        return [route for route in routes if route.avoid_until <= now and route.endpoint not in failed]

    def avoid(self, endpoint: tuple[str, int], seconds: float = _AVOID_S) -> list[Connection]:
        """Leave an endpoint alone for a while; returns its idle connections, which lead to the same dead end."""
        route = self.routes.get(endpoint)
        if route is None:
            return []
        route.avoid_until = self._clock() + seconds
        idle, route.idle = route.idle, []
        return idle


def is_here(host: str) -> bool:
    """Whether a numeric address is one of this machine's; a name is not looked up for it."""
    if host == "localhost":
        return True
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))  # only an address of this machine can be bound
    except (OSError, ValueError):
        return False
    return True
