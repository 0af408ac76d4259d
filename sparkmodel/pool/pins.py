# SPDX-License-Identifier: Apache-2.0
"""One version a query: settled once, the same whoever asks, known to a worker before anybody is told."""

from __future__ import annotations

from sparkmodel.errors import PoolNotReadyError, VersionRetiredError
from sparkmodel.pool.core import Core
from sparkmodel.pool.healing import Healer

_LOOK_S = 0.05


class Pins:
    """Settles versions.

    Args:
        core: The pool's state.
        healer: Starts workers of a version that has none.
    """

    def __init__(self, core: Core, healer: Healer) -> None:
        self._core, self._healer = core, healer

    def pin(self, query: str, digest: str, deadline: float) -> int:
        """The version of a query, with workers.

        Args:
            query: Who is held; empty holds nobody.
            digest: Of its plan.
            deadline: Until when the version's workers may take to start, by the pool's clock.

        Raises:
            VersionRetiredError: its version has ended, or none goes with the plan.
            PoolNotReadyError, PoolNotPlacedError, ModelLoadError: there are no workers in time.
            PoolGoneError: the pool was dropped.
        """
        version = self._settle(query, digest)
        while True:
            members = self._healer.wake(version, deadline)
            if not query or any(member.hold(query) for member in members):
                return version
            with self._core.lock:  # they have just died, or do not answer
                self._core.lock.wait(_LOOK_S)
            if self._core.clock() > deadline:
                raise PoolNotReadyError(
                    f"Cannot score with '{self._core.name}'", f"no worker of version {version} answers"
                )

    def _settle(self, query: str, digest: str) -> int:
        core = self._core
        with core.lock:
            core.crew.check_alive()
            _ = core.current
            given = core.assignments.of(query) if query else ()
            record = core.record
            known = [v for v in given if v < 0 or v not in record.generations or record.generations[v].takes(digest)]
            if not known:
                version = core.choose(query, digest)
                if query:
                    core.assignments.add(query, version)
            elif known[0] in record.generations:
                version = known[0]
            else:
                raise VersionRetiredError(
                    f"Cannot score with '{core.name}'",
                    f"version {abs(known[0])}, which the query began with, has ended and cannot be started again",
                    "run the query anew, or keep the old version for longer with keep_old",
                )
            core.touched[version] = core.clock()
            return version
