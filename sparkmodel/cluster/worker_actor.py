# SPDX-License-Identifier: Apache-2.0
"""A worker as a Ray actor of its own: for models that need another environment, GPUs, or more threads."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from typing import Any

import ray

from sparkmodel.cluster.answers import host, wrap
from sparkmodel.cluster.payloads import Unboxed
from sparkmodel.cluster.scratch import ROOT
from sparkmodel.cluster.worker_process import Seat, Started, WorkerProcess
from sparkmodel.wire.directory import Directory


class WorkerHost:
    """Ray's skin over WorkerProcess. It dies with its supervisor."""

    def __init__(self, seat: Seat, scratch: str) -> None:
        self._seat = dataclasses.replace(seat, root=pathlib.Path(scratch) if scratch else ROOT, host=host(scratch))
        self._process = WorkerProcess(self._seat)
        self._unboxed: Unboxed | None = None

    def start(self, boxed: list[Any]) -> dict[str, Any]:
        """Load and serve, with what `payloads.box` made."""
        return wrap(self._start, boxed)

    def _start(self, boxed: list[Any]) -> Started:
        self._unboxed = Unboxed(boxed, self._seat.spec, self._seat.token, self._seat.root)
        return self._process.start(self._unboxed.data, self._unboxed.directory)

    def publish(self, directory: Directory) -> None:
        self._process.publish(directory)

    def stats(self) -> dict[str, Any]:
        return self._process.stats()

    def close(self, drain_s: float) -> None:
        self._process.close(drain_s)
        if self._unboxed is not None:
            self._unboxed.release()

    def park(self) -> None:
        """Never return: the supervisor waits on this call, and Ray ends it when the process dies."""
        threading.Event().wait()


_remote: Any = ray.remote  # Ray's stubs know neither actor options nor .options()
# max_restarts: the master replaces a dead worker, within a budget that forgets; Ray's own count is for life
WorkerActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=8)(WorkerHost)
