# SPDX-License-Identifier: Apache-2.0
"""Finding the rows at fault in a batch that failed, and ending it when there are too many."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

import pyarrow as pa

from sparkmodel.errors import (
    BisectBudgetError,
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


class Budget:
    """How much the search for the rows at fault in a batch may take.

    Args:
        what: The action for an error.
        rows: Of the batch.
        calls: Calls of the model.
        seconds: Seconds in the model.

    Attributes:
        settled: Rows that were scored, or found at fault.
        found: Those found at fault.
        spent_s: Seconds in the model so far.
    """

    def __init__(self, what: str, rows: int, calls: int, seconds: float) -> None:
        self._what, self._rows, self._calls, self._seconds = what, rows, calls, seconds
        self.settled = self.found = 0
        self.spent_s = 0.0
        self._spent = 0

    def spend(self, last: SparkModelError) -> None:
        """Note a call that is about to be made for the search.

        Raises:
            BisectBudgetError: it is one too many.
        """
        if self._spent >= self._calls or self.spent_s > self._seconds:
            raise BisectBudgetError(
                self._what,
                f"the search for the rows at fault in a batch of {self._rows} took {self._spent} calls and "
                f"{self.spent_s:.1f} s, bisect_calls={self._calls} and bisect_s={self._seconds:g} allow no more: "
                f"{self.found} rows were found at fault, {self._rows - self.settled} were not looked at alone; "
                f"the last: {last.fact}",
                "look into the rows, or raise bisect_calls and bisect_s",
                last.details,
            )
        self._spent += 1


def isolate(
    score: Callable[[pa.RecordBatch], pa.Array],
    batch: pa.RecordBatch,
    type_: pa.DataType,
    check: Callable[[int, int, SparkModelError], None] = lambda rows, failed, error: None,
    budget: Budget | None = None,
) -> tuple[pa.Array, list[Fault]]:
    """Score a batch; if it fails, halve it until the rows at fault stand alone.

    One row at fault among n costs about log2(n) to 2 log2(n) calls more: where the first half of what failed does not,
    the second must, and is halved without being tried.

    Args:
        score: Scores a batch, or raises.
        batch: What to score.
        type_: Type of the NULLs that rows at fault get.
        check: Called with the batch's rows, the faults so far and the last one; may raise to stop the search.
        budget: What the search may take; None for any.

    Returns:
        One value for each row, and the faults in the order of the rows.

    Raises:
        BisectBudgetError: it took too much.
    """
    faults: list[Fault] = []
    last: SparkModelError | None = None

    def search(start: int, rows: int, fails: bool) -> list[pa.Array]:
        nonlocal last
        if not fails or rows == 1:
            try:
                if budget is not None and last is not None:
                    budget.spend(last)
                found = [score(batch.slice(start, rows))]
                if budget is not None:
                    budget.settled += rows
                return found
            except ROW_ERRORS as error:
                last = error
                if rows == 1:
                    faults.append(Fault(start, error))
                    if budget is not None:
                        budget.settled += 1
                        budget.found += 1
                    check(batch.num_rows, len(faults), error)
                    return [pa.nulls(1, type_)]
        half, before = rows // 2, len(faults)
        first = search(start, half, False)
        return first + search(start + half, rows - half, len(faults) == before)

    parts = search(0, batch.num_rows, False)
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
