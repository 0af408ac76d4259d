# SPDX-License-Identifier: Apache-2.0
"""Finding the rows at fault in a batch that failed, and ending it when there are too many."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

import pyarrow as pa

from sparkmodel.errors import (
    ErrorThresholdError,
    PredictError,
    SchemaMismatchError,
    SparkModelError,
    WrongResultTypeError,
    WrongRowCountError,
)

ROW_ERRORS = (PredictError, SchemaMismatchError, WrongResultTypeError, WrongRowCountError)
_WINDOW_ROWS = 10_000
_FEW_ROWS = 100  # one bad row of five is not yet a bad query


@dataclasses.dataclass(frozen=True)
class Fault:
    """A row that cannot be scored, and why."""

    row: int
    error: SparkModelError


def isolate(
    score: Callable[[pa.RecordBatch], pa.Array],
    batch: pa.RecordBatch,
    type_: pa.DataType,
    check: Callable[[int, int, SparkModelError], None] = lambda rows, failed, error: None,
) -> tuple[pa.Array, list[Fault]]:
    """Score a batch; if it fails, halve it until the rows at fault stand alone.

    One row at fault among n costs about 2 log2(n) calls more.

    Args:
        score: Scores a batch, or raises.
        batch: What to score.
        type_: Type of the NULLs that rows at fault get.
        check: Called with the batch's rows, the faults so far and the last one; may raise to stop the search.

    Returns:
        One value for each row, and the faults in the order of the rows.
    """
    faults: list[Fault] = []

    def search(start: int, rows: int) -> list[pa.Array]:
        try:
            return [score(batch.slice(start, rows))]
        except ROW_ERRORS as error:
            if rows == 1:
                faults.append(Fault(start, error))
                check(batch.num_rows, len(faults), error)
                return [pa.nulls(1, type_)]
        half = rows // 2
        return search(start, half) + search(start + half, rows - half)

    parts = search(0, batch.num_rows)
    return (parts[0] if len(parts) == 1 else pa.concat_arrays(parts)), faults


class ErrorWindow:
    """The share of rows at fault among the last 10,000 of a stream.

    Args:
        what: The action for an error.
        threshold: Largest share that is let pass.
    """

    def __init__(self, what: str, threshold: float) -> None:
        self._what, self._threshold = what, threshold
        self._batches: deque[tuple[int, int]] = deque()

    def add(self, rows: int, failed: int) -> None:
        """Note a batch."""
        self._batches.append((rows, failed))
        while len(self._batches) > 1 and sum(size for size, _ in self._batches) > _WINDOW_ROWS:
            self._batches.popleft()

    def check(self, rows: int, failed: int, error: SparkModelError) -> None:
        """Judge with a batch in which so many rows have failed so far.

        Raises:
            ErrorThresholdError: there are too many, with the last of their errors.
        """
        seen = rows + sum(size for size, _ in self._batches)
        lost = failed + sum(bad for _, bad in self._batches)
        if lost > self._threshold * max(seen, _FEW_ROWS):
            raise ErrorThresholdError(
                self._what,
                f"{lost} of the last {seen} rows were at fault, error_threshold={self._threshold:g} allows "
                f"{self._threshold:.2%}; the last: {error.fact}",
                "look into the rows, or raise error_threshold",
                error.details,
            )
