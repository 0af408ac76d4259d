# SPDX-License-Identifier: Apache-2.0
"""The record of calls: an event for each, written to files, a database or a log, never in a prediction's way."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sparkmodel import targets
from sparkmodel.records.events import OK, Event, head
from sparkmodel.records.recorder import Counts, Recorder, Sink
from sparkmodel.scoring.observed import Observed

__all__ = ["BatchRecorder", "CallRecorder", "Counts", "Event", "Recorder", "opener"]


def opener(target: targets.Target) -> Callable[[], Sink]:
    """What opens the sink of a target; its library is imported only then."""

    def open_sink() -> Sink:
        if target.kind == "parquet":
            from sparkmodel.records.parquet import ParquetSink

            return ParquetSink(pathlib.Path(target.place), target.keep_s)
        if target.kind == "postgresql":
            from sparkmodel.records.postgres import PostgresSink

            return PostgresSink(target.place, target.keep_s)
        from sparkmodel.records.kafka import KafkaSink

        return KafkaSink(target.place, target.topic, dict(target.settings))

    return open_sink


class BatchRecorder:
    """Records what a worker observes. It is an observer; what a gateway records itself, it leaves out.

    Args:
        endpoint: Where the worker serves.
    """

    def __init__(self, endpoint: tuple[str, int]) -> None:
        self._worker = f"{endpoint[0]}:{endpoint[1]}/{os.getpid()}"
        self._uri: str | None = None
        self._sample = 0.0
        self._recorder: Recorder | None = None
        self._before: list[Recorder] = []  # those of other places, which may still write

    def configure(self, uri: str | None, sample: float) -> None:
        """Record there from now on; what waits for another place is still written to that one."""
        self._sample = sample
        if uri == self._uri:
            return
        old, self._uri = self._recorder, uri
        self._recorder = None if uri is None else Recorder(opener(targets.parse(uri)), who=self._worker)
        if old is not None:
            old.end()
            self._before.append(old)

    def __call__(self, observed: Observed) -> None:
        """Take a batch that was answered."""
        recorder = self._recorder
        if recorder is None or observed.source == "rest":
            return
        is_sampled = self._sample > 0 and random.random() < self._sample
        recorder.put(
            Event(
                at=observed.at,
                model=observed.model,
                version=observed.version,
                source=observed.source,
                query=observed.query or None,
                rows=observed.batch.num_rows,
                bytes=observed.batch.nbytes,
                queue_s=observed.queue_s,
                predict_s=observed.predict_s,
                outcome=observed.condition or OK,
                worker=self._worker,
                inputs=head(observed.batch) if is_sampled else None,
                outputs=head(observed.result) if is_sampled else None,
            )
        )

    def counts(self) -> Counts:
        """What became of all events, of places before too."""
        parts = [dataclasses.astuple(one.counts()) for one in self._all()]
        return Counts(*(sum(column) for column in zip(*parts, strict=True)))

    def close(self, within_s: float = 5.0) -> None:
        """Write what waits."""
        until = time.monotonic() + within_s
        for one in self._all():
            one.close(max(0.0, until - time.monotonic()))

    def _all(self) -> list[Recorder]:
        return self._before + ([self._recorder] if self._recorder is not None else [])


class CallRecorder:
    """Records what a gateway has answered.

    Args:
        uri: Where to record, as the option `record`.

    Raises:
        InvalidOptionError: nothing can be recorded there, or a library is missing.
    """

    def __init__(self, uri: str) -> None:
        self._host = f"{socket.gethostname()}/{os.getpid()}"
        self._recorder = Recorder(opener(targets.check(uri)), who=self._host)

    def tell(self, context: Any, sample: float) -> None:
        """Take a request that was answered.

        Args:
            context: A `rest.asked.Context`, which is of a layer above.
            sample: Share of the requests whose first rows are recorded.
        """
        scored, asked = context.scored, context.asked
        is_sampled = sample > 0 and asked is not None and random.random() < sample
        values = pa.table({"predictions": scored.values}) if scored is not None and is_sampled else None
        self._recorder.put(
            Event(
                at=time.time(),
                model=context.model,
                version=scored.version if scored is not None else context.version or None,
                source="rest",
                caller=context.principal or None,
                request_id=context.request_id,
                rows=context.rows,
                bytes=asked.table.nbytes if asked is not None else None,
                # a worker that did not tell its times leaves them at 0
                queue_s=scored.wait_s + scored.queue_s if scored is not None and scored.predict_s else None,
                predict_s=scored.predict_s or None if scored is not None else None,
                transfer_s=scored.transfer_s if scored is not None else None,
                call_s=time.monotonic() - context.started,
                outcome=context.condition or OK,
                worker=self._host,
                inputs=head(asked.table) if is_sampled else None,
                outputs=head(values),
            )
        )

    def counts(self) -> Counts:
        """What became of the events."""
        return self._recorder.counts()

    def close(self, within_s: float = 5.0) -> None:
        """Write what waits."""
        self._recorder.close(within_s)
