# SPDX-License-Identifier: Apache-2.0
"""A worker as a Ray actor of its own: for models that need another environment, GPUs, or more threads."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from typing import Any

import ray

from sparkmodel.cluster.answers import host, wrap
from sparkmodel.cluster.orphans import when_orphaned
from sparkmodel.cluster.payloads import Unboxed
from sparkmodel.cluster.scratch import ROOT
from sparkmodel.cluster.worker_process import Seat, Started, WorkerProcess
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory


class WorkerHost:
    """Ray's skin over WorkerProcess. It outlives its supervisor, and serves the next.

    Args:
        seat: What it is.
        scratch: Directory of a local Ray; empty on a cluster.
        supervisor: Name of its supervisor: it ends with that one's end for good.
        namespace: Of that name.
    """

    def __init__(self, seat: Seat, scratch: str, supervisor: str, namespace: str) -> None:
        self._seat = dataclasses.replace(seat, root=pathlib.Path(scratch) if scratch else ROOT, host=host(scratch))
        self._process = WorkerProcess(self._seat)
        self._unboxed: Unboxed | None = None
        self._started: Started | None = None
        self._closing = False
        self._lock, self._parked = threading.Lock(), threading.Event()
        when_orphaned(supervisor, namespace, self._end)

    def start(self, boxed: list[Any]) -> dict[str, Any]:
        """Load and serve, with what `payloads.box` made."""
        return wrap(self._start, boxed)

    def _start(self, boxed: list[Any]) -> Started:
        self._unboxed = Unboxed(boxed, self._seat.spec, self._seat.token, self._seat.root)
        self._started = self._process.start(self._unboxed.data, self._unboxed.directory)
        return self._started

    def tell(self) -> tuple[Seat, Started] | None:
        """Who it is, for the next supervisor; None if it does not serve."""
        if self._started is None or self._closing:
            return None
        return dataclasses.replace(self._seat, spec=self._process.spec), self._started

    def publish(self, directory: Directory) -> None:
        self._process.publish(directory)

    def configure(self, spec: ModelSpec) -> None:
        self._process.configure(spec)

    def hold(self, query: str) -> bool:
        return self._process.hold(query)

    def leases(self) -> dict[str, float]:
        return self._process.leases()

    def stats(self) -> dict[str, Any]:
        return self._process.stats()

    def close(self, drain_s: float) -> None:
        self._closing = True
        self._process.close(drain_s)
        if self._unboxed is not None:
            self._unboxed.release()

    def park(self) -> None:
        """Return when the next supervisor parks: this one waits on the call, and Ray ends it when the process dies."""
        with self._lock:
            self._parked.set()
            self._parked = parked = threading.Event()
        parked.wait()

    def _end(self) -> None:
        if self._unboxed is not None:
            self._unboxed.release()
        self._process.end(0)


_remote: Any = ray.remote  # Ray's stubs know neither actor options nor .options()
# max_restarts: the master replaces a dead worker, within a budget that forgets; Ray's own count is for life
WorkerActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=16)(WorkerHost)
