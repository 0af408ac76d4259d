# SPDX-License-Identifier: Apache-2.0
"""The counters of one worker."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sparkmodel.errors import SparkModelError
from sparkmodel.scoring.series import Series, count

_SECONDS = 512
_DETAILS = 10_000  # characters: the end of a traceback is what tells


@dataclasses.dataclass
class WorkerStats:
    """Counters of one worker since its start.

    Attributes:
        pid: Process id.
        version: Model version that it holds.
        loads: Times that it loaded the model.
        load_s: Seconds that loading took.
        batches, rows, errors: Batches scored, their rows, batches that failed.
        calls: Times that the model was called: more than batches where they are cut or rows are at fault.
        rows_failed: Rows at fault that `on_error` turned into NULL or a struct.
        predict_s: Seconds in the model.
        queued: Batches waiting or in the model now.
        inside: Calls of the model under way now.
        wait_s: Seconds that batches have waited for the model, all together.
        oldest_wait_s: How long the one that waits longest now has waited.
        incarnation, number: Revision of the newest directory that it was sent; 0 if callers cannot know of it.
        listed: Whether that directory sends callers to it.
        seconds: Of each of the last 512 batches, in the model.
        last_error: Of the last batch or row that failed: `time` (seconds since 1970), `message`, `details`.
        series: Histograms of its batches, by source and outcome; see `sparkmodel.scoring.series`.
        refused: Batches that were sent elsewhere, or later, by condition.
        recorded, record_dropped: Batches that are in the record of calls, and those that should be and are not.
    """

    pid: int = 0
    version: int = 0
    loads: int = 0
    load_s: float = 0.0
    batches: int = 0
    rows: int = 0
    errors: int = 0
    calls: int = 0
    rows_failed: int = 0
    predict_s: float = 0.0
    queued: int = 0
    inside: int = 0
    wait_s: float = 0.0
    oldest_wait_s: float = 0.0
    incarnation: int = 0
    number: int = 0
    listed: bool = False
    seconds: tuple[float, ...] = ()
    last_error: dict[str, Any] | None = None
    series: Series = dataclasses.field(default_factory=dict)
    refused: dict[str, int] = dataclasses.field(default_factory=dict)
    recorded: int = 0
    record_dropped: int = 0


class Tally:
    """Adds to the counters from many threads.

    Args:
        shown: Is told of each batch that was scored or failed, as rows, batches and errors.
        start: Counters to begin with.
    """

    def __init__(
        self, shown: Callable[[int, int, int], None] = lambda rows, batches, errors: None, **start: Any
    ) -> None:
        self._stats, self._shown = WorkerStats(**start), shown
        self._lock = threading.Lock()
        self._seconds: deque[float] = deque(maxlen=_SECONDS)
        self._last: tuple[float, SparkModelError] | None = None

    def add(self, **amounts: float) -> None:
        """Add to the named counters."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self._stats, name, getattr(self._stats, name) + amount)
        if "errors" in amounts:
            self._shown(0, 0, int(amounts["errors"]))

    def add_batch(self, rows: int, seconds: float) -> None:
        """Add a batch that was scored."""
        with self._lock:
            self._stats.batches += 1
            self._stats.rows += rows
            self._stats.predict_s += seconds
            self._seconds.append(seconds)
        self._shown(rows, 1, 0)

    def add_answer(self, source: str, outcome: str, *, rows: int, queue_s: float, predict_s: float) -> None:
        """Add a batch to the histograms, as its caller sent it: what was joined is several."""
        with self._lock:
            count(self._stats.series, source, outcome, {"queue": queue_s, "predict": predict_s, "rows": rows})

    def note(self, error: SparkModelError) -> None:
        """Keep an error until there is a newer one."""
        self._last = (time.time(), error)

    def read(self, **now: Any) -> WorkerStats:
        """A copy of the counters, with those that others keep."""
        last = self._last
        error = last and {"time": last[0], "message": last[1].message, "details": last[1].details[-_DETAILS:]}
        with self._lock:
            series = {key: list(numbers) for key, numbers in self._stats.series.items()}
            kept: dict[str, Any] = {"series": series, "seconds": tuple(self._seconds), "last_error": error or None}
            return dataclasses.replace(self._stats, **now, **kept)


def summarize(workers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Latency and last error of all workers together; takes out of their counters what is for no one to read.

    Returns:
        `latency`: how many of the latest batches it is about, and their quantiles in seconds, None without batches;
        `last_error`: the newest.
    """
    seconds = sorted(second for worker in workers for second in worker.pop("seconds", ()))
    for worker in workers:
        worker.pop("series", None)
        worker.pop("refused", None)
    errors = [worker["last_error"] for worker in workers if worker.get("last_error")]
    quantiles = {f"p{percent}_s": _quantile(seconds, percent) for percent in (50, 95, 99)}
    return {
        "latency": {"batches": len(seconds), **quantiles},
        "last_error": max(errors, key=lambda error: float(error["time"]), default=None),
    }


def _quantile(ordered: Sequence[float], percent: int) -> float | None:
    """The least value that so many percent of all do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None
