# SPDX-License-Identifier: Apache-2.0
"""Tells of each batch that a worker has answered: to its counters always, to observers where there are any."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import pyarrow as pa

from sparkmodel.scoring.observed import Observed, Observer
from sparkmodel.scoring.series import OK
from sparkmodel.scoring.tally import Tally

_log = logging.getLogger(__name__)


class Telling:
    """Of the batches of one worker.

    Args:
        model: Its name.
        version: Number of what it serves.
        tally: Its counters.
        observers: Are told in the thread of the batch's caller, which has its answer: they should not wait.
    """

    def __init__(self, model: str, version: int, tally: Tally, observers: Sequence[Observer]) -> None:
        self._model, self._version = model, version
        self._tally, self._observers = tally, observers
        self._failed: set[int] = set()

    def tell(
        self,
        batch: pa.RecordBatch,
        result: pa.RecordBatch | None,
        *,
        condition: str,
        source: str,
        query: str,
        queue_s: float,
        predict_s: float,
    ) -> None:
        """A batch has its answer, or has failed; see `Observed`. Raises nothing."""
        self._tally.add_answer(source, condition or OK, rows=batch.num_rows, queue_s=queue_s, predict_s=predict_s)
        if not self._observers:
            return
        observed = Observed(
            at=time.time(),
            model=self._model,
            version=self._version,
            source=source,
            query=query,
            queue_s=queue_s,
            predict_s=predict_s,
            condition=condition,
            batch=batch,
            result=result,
        )
        for observer in self._observers:
            try:
                observer(observed)
            except Exception:  # a prediction never fails for it
                if id(observer) not in self._failed:
                    self._failed.add(id(observer))
                    _log.exception("an observer of '%s' failed; it is not logged again", self._model)
