# SPDX-License-Identifier: Apache-2.0
"""Where the versions of a pool are reached."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from sparkmodel.wire.limits import Limits
from sparkmodel.wire.verdicts import Verdict

Endpoint = tuple[str, int]


class Revision(NamedTuple):
    """Which state of a pool is meant; a greater one is newer.

    Attributes:
        incarnation: Number of the master, counted from 1: one that takes the place of a dead one has the next.
        number: Number of the change, counted by its master.
    """

    incarnation: int = 0
    number: int = 0


NO_REVISION = Revision()  # older than any


@dataclasses.dataclass(frozen=True)
class Served:
    """One version that has workers, or gets some as soon as it is asked for.

    Attributes:
        version: Its number.
        endpoints: The (host, port) of its workers.
        weight: Share of the queries that begin now; 0 for a version that only those get which are held to it.
        accepts: Digests (`sparkmodel.schema.digest_of`) of the plans that it answers right.
    """

    version: int
    endpoints: tuple[Endpoint, ...] = ()
    weight: float = 1.0
    accepts: tuple[str, ...] = ()

    def takes(self, digest: str) -> bool:
        """Whether a plan of that digest gets right answers here; an empty one asks for nothing."""
        return not digest or digest in self.accepts


@dataclasses.dataclass(frozen=True)
class Directory:
    """Where a pool is reached now.

    Attributes:
        revision: Of this directory; a client takes no older one.
        state: `ready`, `healing` (workers are being replaced), `cold` (there are none until somebody calls) or
            `stopped`.
        version: What new queries get, but for the share of a canary.
        served: All versions that may be called.
        master: (host, port) of the master: it settles versions, and has the newest directory when no worker answers.
        limits: Of all calls of the pool, as they are now; None is as the handle says.
        condemned: The newest batches that are known to end their workers.
    """

    revision: Revision = NO_REVISION
    state: str = "healing"
    version: int = 0
    served: tuple[Served, ...] = ()
    master: Endpoint | None = None
    limits: Limits | None = None
    condemned: tuple[Verdict, ...] = ()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The workers of all versions."""
        return tuple(endpoint for served in self.served for endpoint in served.endpoints)

    def of(self, version: int) -> Served | None:
        """The entry of a version."""
        return next((served for served in self.served if served.version == version), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "incarnation": self.revision.incarnation,
            "number": self.revision.number,
            "state": self.state,
            "version": self.version,
            "served": [dataclasses.asdict(served) for served in self.served],
            "master": self.master,
            "limits": None if self.limits is None else self.limits.to_dict(),
            "condemned": [verdict.to_dict() for verdict in self.condemned],
        }

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Directory:
        """The directory in a message."""
        return Directory(
            revision=Revision(int(value["incarnation"]), int(value["number"])),
            state=str(value["state"]),
            version=int(value["version"]),
            served=tuple(
                Served(
                    version=int(served["version"]),
                    endpoints=tuple((str(host), int(port)) for host, port in served["endpoints"]),
                    weight=float(served["weight"]),
                    accepts=tuple(map(str, served["accepts"])),
                )
                for served in value["served"]
            ),
            master=None if value.get("master") is None else (str(value["master"][0]), int(value["master"][1])),
            limits=None if value.get("limits") is None else Limits.from_dict(value["limits"]),
            condemned=tuple(map(Verdict.from_dict, value.get("condemned", ()))),
        )
