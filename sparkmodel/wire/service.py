# SPDX-License-Identifier: Apache-2.0
"""What a server serves: the contract between the wire and the pool, so that neither knows the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import pyarrow as pa

from sparkmodel.wire.directory import Directory, Endpoint
from sparkmodel.wire.turns import Turn
from sparkmodel.wire.verdicts import Fate, Verdict


class Stream(Protocol):
    """One opened stream of batches with one schema."""

    schema: pa.Schema
    key: Hashable  # equal for streams whose batches may be joined

    def predict(self, batch: pa.RecordBatch, turns: Callable[[], Turn]) -> pa.RecordBatch:
        """The predictions of one batch, row by row.

        Args:
            batch: The rows.
            turns: Makes a turn for each call of the model, which is entered around it.
        """

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Entered from when a batch has come until it is scored, the time that it waits for its turn included."""

    def told(
        self, batch: pa.RecordBatch, result: pa.RecordBatch | None, condition: str, queue_s: float, predict_s: float
    ) -> None:
        """A batch has its answer; it must not raise, nor wait.

        Args:
            batch: The rows.
            result: Their predictions, None where it failed.
            condition: Of the error, empty without one.
            queue_s: Seconds that it has waited for the model.
            predict_s: Seconds of the rest of its stay.
        """


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

    def fate(self, endpoint: Endpoint, session: int, seq: int) -> Fate:
        """What became of a batch whose worker was lost; only a master knows. It may take 4 s to find out.

        Args:
            endpoint: Of the worker.
            session: Number of the connection there.
            seq: Number of the batch on it.

        Raises:
            PoolGoneError: this is a worker.
        """

    def condemn(self, verdict: Verdict) -> None:
        """Have all callers know of a batch that ends its workers; only a master does this.

        Raises:
            PoolGoneError: this is a worker.
        """
