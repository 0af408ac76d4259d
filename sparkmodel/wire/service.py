# SPDX-License-Identifier: Apache-2.0
"""What a server serves: the contract between the wire and the pool, so that neither knows the other."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol

import pyarrow as pa

from sparkmodel.errors import DeadlineExceededError, PoolBusyError, WorkerStoppingError
from sparkmodel.wire.directory import Directory



class Stream(Protocol):
    """One opened stream of batches with one schema."""

    schema: pa.Schema
    key: Hashable  # equal for streams whose batches may be joined

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The predictions of one batch, row by row."""


class Service(Protocol):
    """What stands behind a server."""

    name: str
    token: str
    version: int

    @property
    def directory(self) -> Directory:
        """The newest list of the pool's endpoints."""

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> tuple[Stream, pa.Schema]:
        """A stream for batches of `schema`, and the schema of its answers.

        Of the options, `pin` and `digest` say which version is meant, and `query` what the batches belong to.

        Raises:
            WrongVersionError: another version is meant than is served here.
        """

    def pin(self, query: str, digest: str, deadline: float) -> int:
        """The version that a query is held to, settled now if it was not; only a master does this.

        Args:
            query: What is scored by one version from the first row to the last; empty holds nothing.
            digest: Of the plan: the version must answer it right.
            deadline: Monotonic time until which a version that has no workers may take to start.

        Raises:
            PoolGoneError: this is a worker.
            VersionRetiredError: no version answers such a plan any more.
            PoolNotReadyError, PoolNotPlacedError: its workers did not start in time.
        """


class Gate:
    """Lets `width` batches into the model at once and bounds those that wait.

    A model is called by one thread at a time unless it was registered with more: most models are not thread-safe.
    """

    def __init__(self, width: int, max_queued: int) -> None:
        self._slots = threading.Semaphore(width)
        self._width, self._max_queued = width, max_queued
        self._lock = threading.Lock()
        self._inside: set[Stay] = set()
        self._load = 0
        self.stopping = False

    @property
    def load(self) -> int:
        """Batches waiting or in the model."""
        return self._load

    def running(self) -> list[Stay]:
        """The batches that are in the model now."""
        with self._lock:
            return list(self._inside)

    @contextlib.contextmanager
    def enter(self, what: str, deadline: float, gone: Callable[[], bool]) -> Iterator[Stay]:
        """Wait for a slot, then hold it.

        Raises:
            PoolBusyError: too many wait already.
            WorkerStoppingError: the worker stops, or the caller went away while waiting.
            DeadlineExceededError: the deadline passed while waiting.
        """
        with self._lock:
            if self._load >= self._width + self._max_queued:
                raise PoolBusyError(what, f"{self._load} batches wait in this worker")
            self._load += 1
        try:
            # a free slot is taken without a look at the caller, which costs as much as the rest of this
            waited = not self._slots.acquire(blocking=False)
            while waited and not self._slots.acquire(timeout=0.2):
                self._check(what, deadline, gone)
            try:
                self._check(what, deadline, gone if waited else None)
                stay = Stay(time.monotonic())
                with self._lock:
                    self._inside.add(stay)
                try:
                    yield stay
                finally:
                    with self._lock:
                        self._inside.discard(stay)
            finally:
                self._slots.release()
        finally:
            with self._lock:
                self._load -= 1

    def _check(self, what: str, deadline: float, gone: Callable[[], bool] | None) -> None:
        if self.stopping or (gone is not None and gone()):
            raise WorkerStoppingError(what, "the worker is stopping, or the caller has gone")
        if time.monotonic() > deadline:
            raise DeadlineExceededError(what, "the deadline passed while the batch waited")


@dataclasses.dataclass(eq=False)
class Stay:
    """The stay of one batch in the model."""

    started: float
