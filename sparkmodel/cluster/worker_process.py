# SPDX-License-Identifier: Apache-2.0
"""The process of one worker: its thread limits, its scratch directory, its end. How it came to be is another's."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import tempfile
from typing import Any, NamedTuple

from sparkmodel.cluster.scratch import Scratch
from sparkmodel.loaders.threads import limit_imports, limit_loaded, limit_threads
from sparkmodel.pool.ends import HUNG_CODE
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.tls import Identity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seat:
    """What a process needs to know to become a worker.

    Attributes:
        spec: The model and its limits.
        version: Number of what it serves.
        token: Secret that callers must show.
        root: Where its scratch directory is.
        host: Address to serve on.
        identity: What to serve TLS with, if at all.
        pool_id: Whose worker it is.
        key: What its node calls it; empty for one that ends with who started it.
        slot: Name of its reservation.
        orphan_s: Seconds that it waits for the next supervisor when its own has ended.
    """

    spec: ModelSpec
    version: int
    token: str = dataclasses.field(repr=False)
    root: pathlib.Path
    host: str
    identity: Identity | None = dataclasses.field(default=None, repr=False)
    pool_id: str = ""
    key: str = ""
    slot: str = ""
    orphan_s: float = 0.0


class Started(NamedTuple):
    """What a worker that serves tells.

    Attributes:
        endpoint: Where it serves.
        feature_names: The columns that its model knows of itself, None where it knows none.
        pid: Of its process.
        page: File of its pulse.
    """

    endpoint: tuple[str, int]
    feature_names: tuple[str, ...] | None
    pid: int = 0
    page: str = ""


def threads_of(spec: ModelSpec) -> int:
    """Threads that a worker of this model may use."""
    return max(1, int(spec.options.num_cpus))


class WorkerProcess:
    """Makes this process a worker. There is one in a process, and nothing else."""

    def __init__(self, seat: Seat) -> None:
        # before numpy and the model's libraries are imported: they read it once
        options = seat.spec.options
        self._threads = threads_of(seat.spec)
        theirs = {**(options.runtime_env or {}).get("env_vars", {}), **(options.extra_env or {})}
        os.environ.update({**limit_threads(self._threads), **theirs})
        limit_imports(self._threads)
        self._scratch = Scratch(seat.root)
        tempfile.tempdir = str(self._scratch.path)  # MLflow downloads to it and never cleans up
        os.environ.setdefault("SPARK_LOCAL_DIRS", str(self._scratch.path))  # of the Spark that a Spark ML model starts
        from sparkmodel.pool.pulse import Pulse
        from sparkmodel.pool.worker import Worker

        self._page = self._scratch.path / "pulse"
        self._worker = Worker(
            seat.spec,
            version=seat.version,
            token=seat.token,
            host=seat.host,
            identity=seat.identity,
            on_hang=lambda: self.end(HUNG_CODE),
            pulse=Pulse(self._page),
        )

    def start(self, data: Any, directory: pathlib.Path | None) -> Started:
        """Load and serve.

        Args:
            data: The pickle of a shipped object.
            directory: Where the files of a shipped model are.
        """
        endpoint = self._worker.start(data, directory)
        limit_loaded(self._threads)
        return Started(endpoint, self._worker.feature_names, os.getpid(), str(self._page))

    @property
    def spec(self) -> ModelSpec:
        """What it serves, with the limits that hold now."""
        return self._worker.spec

    def configure(self, spec: ModelSpec) -> None:
        """Take the limits of a spec that differs in nothing else."""
        self._worker.configure(spec)

    def hold(self, query: str) -> bool:
        """Know that a query is held to this version."""
        self._worker.hold(query)
        return True

    def leases(self) -> dict[str, float]:
        """Queries that are held to this version, with the seconds since each was last active."""
        leases: dict[str, float] = self._worker.leases()
        return leases

    def publish(self, directory: Directory) -> None:
        """Take the newest list of the pool's endpoints."""
        self._worker.publish(directory)

    def stats(self) -> dict[str, Any]:
        """The worker's counters."""
        return dataclasses.asdict(self._worker.stats())

    def close(self, drain_s: float) -> None:
        """Let batches in the model finish for `drain_s`, stop serving, leave no directory."""
        self._worker.close(drain_s)
        self._scratch.remove()

    def end(self, code: int) -> None:
        """End the process at once, leaving no directory."""
        self._scratch.remove()
        os._exit(code)
