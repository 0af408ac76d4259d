# SPDX-License-Identifier: Apache-2.0
"""The record of calls: an event for each, written to files, a database or a log, never in a prediction's way."""

from __future__ import annotations

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

__all__ = ["BatchRecorder", "Counts", "Event", "Recorder", "gateway_teller", "opener"]


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

    def configure(self, uri: str | None, sample: float) -> None:
        """Record there from now on; what waits for another place is still written to that one."""
        self._sample = sample
        if uri == self._uri:
            return
        old, self._uri = self._recorder, uri
        self._recorder = None if uri is None else Recorder(opener(targets.parse(uri)), who=self._worker)
        if old is not None:
            old.end()

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
        """What became of the events for where it records now."""
        return self._recorder.counts() if self._recorder is not None else Counts()

    def close(self, within_s: float = 5.0) -> None:
        """Write what waits."""
        if self._recorder is not None:
            self._recorder.close(within_s)


def gateway_teller(uri: str, sample: float = 0.0) -> tuple[Callable[[Any], None], Callable[[], None]]:
    """What a gateway tells of each answered request, and what writes the rest at its end.

    Args:
        uri: Where to record, as the option `record`.
        sample: Share of the requests whose first rows are recorded.

    Raises:
        InvalidOptionError: nothing can be recorded there, or a library is missing.
    """
    recorder = Recorder(opener(targets.check(uri)), who=f"{socket.gethostname()}/{os.getpid()}")

    def tell(context: Any) -> None:  # a `rest.asked.Context`, which is of a layer above
        if not context.model or context.protocol == "admin" or not (context.asked or context.condition):
            return
        scored, asked = context.scored, context.asked
        is_sampled = sample > 0 and asked is not None and random.random() < sample
        values = pa.table({"predictions": scored.values}) if scored is not None and is_sampled else None
        recorder.put(
            Event(
                at=time.time(),
                model=context.model,
                version=scored.version if scored is not None else None,
                source="rest",
                caller=context.principal or None,
                request_id=context.request_id,
                rows=context.rows,
                bytes=asked.table.nbytes if asked is not None else None,
                queue_s=scored.queue_s if scored is not None else None,
                predict_s=scored.predict_s if scored is not None else None,
                transfer_s=scored.transfer_s if scored is not None else None,
                call_s=time.monotonic() - context.started,
                outcome=context.condition or OK,
                worker=f"{socket.gethostname()}/{os.getpid()}",
                inputs=head(asked.table) if is_sampled else None,
                outputs=head(values),
            )
        )

    return tell, recorder.close
