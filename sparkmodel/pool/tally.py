# SPDX-License-Identifier: Apache-2.0
"""The counters of one worker."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any


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


class Tally:
    """Adds to the counters from many threads."""

    def __init__(self, **start: Any) -> None:
        self._stats = WorkerStats(**start)
        self._lock = threading.Lock()

    def add(self, **amounts: float) -> None:
        """Add to the named counters."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self._stats, name, getattr(self._stats, name) + amount)

    def read(self, queued: int = 0) -> WorkerStats:
        """A copy of the counters."""
        with self._lock:
            return dataclasses.replace(self._stats, queued=queued)
