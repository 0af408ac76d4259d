# SPDX-License-Identifier: Apache-2.0
"""Which version and which worker get the next batch: the client's own choice, with no master on the way.

A call that is held to no version goes to one that answers its plan right, by weight, and stays there.
Of the workers, the one is taken whose answer is expected first: by how long it has a batch in its model, and by how
many are before. So a slow worker gets as much as it can do, and not half of the work. One on this host is taken for as
long as it is expected in no more than twice the time: a model that keeps up stays near, one that does not uses all.

One of which nothing is known, or nothing new, is asked before it is given a batch: many clients that each find out by
a batch of their own which worker is slow are a long queue there.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Collection

from sparkmodel.wire.addresses import is_here
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.directory import Directory, Endpoint, Revision
from sparkmodel.wire.pace import Told

_AVOID_S = 1.0  # how long an endpoint that failed is left alone while another one works
_AVOID_MOST_S = 30.0  # one that is silent again and again
_MOST_DOUBLINGS = 5
_NEWEST = 0.3  # what the last batch counts in what is known of a worker's speed
_MOST_TIMES = 8.0  # what is known: one batch says no more than that, or a pause of the machine would be held against it
_LEAST_S = 1e-4  # differences below do not matter
_OLD_S = 1.0  # what is known of a worker that gets nothing is tried anew after so long,
_WORTH_S = 0.01  # one that is quicker than this is not worth a question
MOST_ASKED = 2  # workers that are asked how quick they are for one batch
_OLD_TIMES = 20.0  # or after so many times its batch: one that was cold is soon used, one that is slow costs little


@dataclasses.dataclass
class Route:
    """One endpoint as this process sees it.

    Attributes:
        seconds: That a batch is in its model, by the last ones; None where nothing is known.
        learned: When that was learned last.
        is_told: Whether it is only what the worker says.
        heard: When its load was told last.
        silences: Times in a row that it was left because it said nothing.
        left: When it was left so last.
    """

    endpoint: Endpoint
    is_local: bool = False
    in_flight: int = 0
    load: int = 0  # the worker's own count in its last answer: other callers' batches are in it
    avoid_until: float = 0.0
    idle: list[Connection] = dataclasses.field(default_factory=list)
    seconds: float | None = None
    learned: float = 0.0
    is_told: bool = False
    heard: float = 0.0
    silences: int = 0
    left: float = 0.0

    def known_s(self, now: float) -> float | None:
        """Seconds of a batch, None where nothing is known, or nothing new."""
        is_free = not self.in_flight  # one batch is enough to learn anew
        return None if is_free and self.is_old(now) else self.seconds

    def is_old(self, now: float) -> bool:
        """Whether what is known of its speed is nothing, or not of now."""
        return self.seconds is None or now - self.learned > max(_OLD_S, _OLD_TIMES * self.seconds)

    def take_idle(self) -> list[Connection]:
        """Take all kept connections: who has chosen this worker already must not find one that is being closed."""
        idle, self.idle = self.idle, []
        return idle

    def cost(self, seconds: float, now: float) -> float:
        """Seconds until the next batch is answered, if one is so long in the model.

        What others had there is worked off since it was told: a worker that was busy once would not be looked at again.
        """
        worked_off = (now - self.heard) / max(seconds, _WORTH_S)
        return (self.in_flight + 1 + max(0.0, self.load - self.in_flight - worked_off)) * max(seconds, _LEAST_S)


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
        return [connection for key, route in before.items() if key not in endpoints for connection in route.take_idle()]

    def choose(self, digest: str, failed: Collection[Endpoint] = ()) -> int | None:
        """The version for a call that is held to none, None if none that suits its plan has a worker that works."""
        suited = [served for served in self.directory.served if served.weight > 0 and served.takes(digest)]
        able = [served for served in suited if self._usable(served.version, failed)]
        if len(able) < 2:
            return able[0].version if able else None
        return random.choices(able, [served.weight for served in able])[0].version

    def pick(self, version: int, failed: Collection[Endpoint] = (), asked: Collection[Endpoint] = ()) -> Route | None:
        """The worker of a version for the next batch, None if none works.

        Args:
            version: What is to answer it.
            failed: Endpoints that are not to be tried.
            asked: Those that were asked for this batch how quick they are.
        """
        usable = self._usable(version, failed)
        if len(usable) < 2:
            return usable[0] if usable else None
        now = self._clock()
        known = [route.known_s(now) for route in usable]
        least = min((seconds for seconds in known if seconds is not None), default=_LEAST_S)
        # one that was quick before counts as that: with many before it, it would be dear at the time of a slow one
        guesses = [least if route.seconds is None else min(least, route.seconds) for route in usable]
        costs = [
            route.cost(guess if seconds is None else seconds, now)
            for route, seconds, guess in zip(usable, known, guesses, strict=True)
        ]
        best = min(costs)
        near = [cost for route, cost in zip(usable, costs, strict=True) if route.is_local and cost <= 2 * best]
        wanted = min(near, default=best)
        if 0 < len(asked) < MOST_ASKED:  # what it said is worth a look at another one
            good = [route for route, cost in zip(usable, costs, strict=True) if cost <= wanted]
            if others := [route for route in good if route.endpoint not in asked and route.known_s(now) is None]:
                return random.choice(others)
        ties = [
            route for route, cost in zip(usable, costs, strict=True) if cost == wanted and (route.is_local or not near)
        ]
        # one that was asked, else one that is not known: where only a slow one is known, it counts as that one
        new = [route for route in ties if route.known_s(now) is None]
        ties = [route for route in ties if route.endpoint in asked] or new or ties
        return ties[0] if len(ties) == 1 else random.choice(ties)

    def is_doubtful(self, route: Route, version: int, failed: Collection[Endpoint] = ()) -> bool:
        """Whether there is another worker, and of this one nothing, or nothing new, is known.

        Of one that takes more than twice as long as another it is also how many batches are before, now: it was picked
        because the others have many, and all who saw it free some time ago would go there at once.
        """
        now = self._clock()
        others = [other for other in self._usable(version, failed) if other is not route]
        seconds = route.known_s(now)
        if seconds is None or not others:
            return bool(others)
        quickest = min((other.seconds for other in others if other.seconds is not None), default=seconds)
        return now - route.heard > _WORTH_S and quickest * 2 < seconds

    def is_worth_asking(self, route: Route) -> bool:
        """Whether a worker was so slow, as far as is known, that a question costs less than a batch that is late."""
        return route.seconds is not None and route.seconds >= _WORTH_S

    def last(self, version: int, failed: Collection[Endpoint] = ()) -> Route | None:
        """The worker of a version for its suspects, so that these gather on one; None if none works."""
        return max(self._usable(version, failed), key=lambda route: route.endpoint, default=None)

    def has_other(self, endpoint: Endpoint, version: int, failed: Collection[Endpoint] = ()) -> bool:
        """Whether another worker of the version works."""
        return any(route.endpoint != endpoint for route in self._usable(version, failed))

    def learn(self, route: Route, load: int, seconds: float | None) -> None:
        """Take what an answer tells: how many batches are there, and how long its own was in the model, if it was."""
        now = self._clock()
        route.load, route.heard, route.silences = load, now, 0
        if seconds is not None:
            known = None if route.is_old(now) else route.seconds
            if known is not None:
                seconds = min(seconds, _MOST_TIMES * known)
            before = seconds if known is None or route.is_told else known
            route.seconds, route.learned = _NEWEST * seconds + (1 - _NEWEST) * before, now
            route.is_told = False

    def hear(self, route: Route, load: int, told: Told | None) -> bool:
        """Take what a worker tells of itself: how many batches are there, and its speed where that is new.

        What was seen here counts more: others' batches may be of another size. Returns whether it is so slow, or has
        so much to do, that another one may be better.
        """
        now = self._clock()
        route.load, route.heard = load, now
        if told is not None and (route.seconds is None or (now - told.age_s > route.learned and route.is_old(now))):
            route.seconds, route.learned, route.is_told = told.seconds, now - told.age_s, True
        return load > 0 or (self.is_worth_asking(route) and not route.is_old(now))

    def _usable(self, version: int, failed: Collection[Endpoint]) -> list[Route]:
        now = self._clock()
        routes = self._by_version.get(version, ())
        return [route for route in routes if route.avoid_until <= now and route.endpoint not in failed]

    def avoid(self, endpoint: tuple[str, int], seconds: float = _AVOID_S, is_silent: bool = False) -> list[Connection]:
        """Leave an endpoint alone for a while; returns its idle connections, which lead to the same dead end.

        What was known of it is forgotten. One that is silent each time is left alone for longer each time.
        """
        route = self.routes.get(endpoint)
        if route is None:
            return []
        now = self._clock()
        if is_silent and route.avoid_until <= now:  # else it is another batch that was there with the one of before
            if any(other is not route and other.avoid_until <= now for other in self.routes.values()):
                seconds = min(seconds * 2 ** min(route.silences, _MOST_DOUBLINGS), _AVOID_MOST_S)
            route.silences, route.left = route.silences + 1, now
        route.avoid_until = max(route.avoid_until, now + seconds)
        route.load, route.seconds = 0, None
        return route.take_idle()
