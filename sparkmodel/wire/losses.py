# SPDX-License-Identifier: Apache-2.0
"""What becomes of a batch whose worker was lost: pure decisions, by docs/protocol.md, section 6.

A batch that was in the model as its worker ended is suspect, and alone from then on; one that had nothing to do with it
is sent again as if nothing had been; of one whose end nobody saw, the losses are counted.
"""

from __future__ import annotations

import dataclasses
import enum

from sparkmodel.errors import BisectBudgetError, PoisonBatchError, PredictTimeoutError, SparkModelError, WorkerLostError
from sparkmodel.wire import verdicts as v

_FACT_CHARS = 300
_LOGS = "look into these rows, and into the worker's log"


class Step(enum.Enum):
    """What to do with a batch that lost its worker."""

    AGAIN = "again"
    ALONE = "alone"  # again, but with nothing else in the model
    GUILTY = "guilty"  # it ends its workers
    LOST = "lost"  # given up, and nobody knows what it did


@dataclasses.dataclass
class History:
    """The losses of one batch, of one version of the model.

    Attributes:
        rows: Of the batch.
        place: Where it comes from, such as `partition 3, batch 2`.
        decides: Whether a kill from outside makes it guilty: it is a part of a batch that was killed too often.
        is_half: Whether it is a part of a batch that ended its workers.
        version: That which it was last given to.
        counted: Losses of which nobody knows what they were.
        receipts: Losses amid the sending, or the reading.
        kills: Times that its worker was killed from outside while it was in the model.
        crashes: Times that its worker ended otherwise while it was in the model.
        since: Seconds of the clock when it was first sent again uncounted.
        cause: Of its last loss.
        fact: The same as a part of a sentence.
    """

    rows: int
    place: str
    is_half: bool = False
    decides: bool = False
    version: int | None = None
    counted: int = 0
    receipts: int = 0
    kills: int = 0
    crashes: int = 0
    since: float | None = None
    cause: str = ""
    fact: str = ""

    def given_to(self, version: int | None) -> None:
        """Note the version that gets it: another one has not been ended by it."""
        if version != self.version:
            self.version, self.kills, self.crashes = version, 0, 0

    def half(self, rows: int) -> History:
        """That of a part of it, which begins anew but for what is known of the whole."""
        decides = self.decides or self.cause == v.KILLED
        return History(rows, self.place, is_half=True, decides=decides, version=self.version)

    def judge(self, fate: v.Fate, max_retries: int) -> Step:
        """Decide after a loss, by what the master says of it."""
        self.cause, self.fact = fate.cause, _line(fate.fact) or "its worker ended"
        if fate.fate in (v.WAITING, v.SILENT):
            return Step.AGAIN
        if fate.fate == v.RECEIVED:
            self.receipts += 1
            return Step.AGAIN if self.receipts <= max_retries else Step.LOST
        if fate.fate != v.IN_MODEL:
            self.counted += 1
            return Step.AGAIN if self.counted <= max_retries else Step.LOST
        if fate.cause == v.HANG:
            return Step.GUILTY
        if fate.cause == v.KILLED:
            self.kills += 1
        else:
            self.crashes += 1
        if self.is_half and (fate.cause != v.KILLED or self.decides):
            return Step.GUILTY
        if not max_retries:  # it was not alone: nobody is told of it
            return Step.LOST
        return Step.GUILTY if self.crashes > 1 or self.kills > max_retries else Step.ALONE

    def condition(self) -> str:
        """What it is guilty of."""
        return (PredictTimeoutError if self.cause == v.HANG else PoisonBatchError).condition

    def guilt(self) -> str:
        """The fact of the error of a batch that is guilty."""
        rows = _count(self.rows, "row")
        if self.cause == v.HANG:
            return f"{rows} of {self.place} took the model, version {self.version}, too long: {self.fact}"
        ended = _count(self.kills + self.crashes, "worker")
        return f"{rows} of {self.place} ended {ended} of version {self.version}, the last: {self.fact}"

    def lost(self, what: str, error: Exception | None) -> WorkerLostError:
        """The error of a batch that is given up, and of which nobody knows whether it ends workers."""
        rows, because = _count(self.rows, "row"), f" ({error})" if error and str(error) else ""
        if self.kills or self.crashes:
            fact = f"{rows} of {self.place} were in the model, version {self.version}, as its worker ended: {self.fact}"
            return WorkerLostError(what, fact, "raise max_retries, or look into these rows")
        return WorkerLostError(
            what,
            f"{rows} of {self.place} lost {_count(self.counted, 'worker')} before an answer came{because}",
            "its rows may crash the model: score them alone, or look into the workers' logs",
        )

    def lost_on_receipt(self, what: str, error: object) -> WorkerLostError:
        """The error of a batch that was never read whole."""
        return WorkerLostError(
            what,
            f"{self.place} of {_count(self.rows, 'row')}: a batch ended {_count(self.receipts, 'worker')} of version "
            f"{self.version} as they received it ({error})",
            "send fewer rows in a batch, give the workers more memory, or look into their logs",
        )

    def adrift(self, what: str, seconds: float) -> WorkerLostError:
        """The error of a batch that nobody is at fault for, and that no worker lived long enough to score."""
        return WorkerLostError(
            what,
            f"{_count(self.rows, 'row')} of {self.place} waited in worker after worker that ended for {seconds:.0f} s, "
            f"the last: {self.fact}",
            "look into the workers' logs",
        )


@dataclasses.dataclass
class Bisection:
    """The search for the rows at fault in one batch, and what it may cost.

    Attributes:
        calls: Messages that were sent for it.
    """

    what: str
    max_calls: int
    max_s: float
    started: float
    calls: int = 0

    def take(self, now: float) -> None:
        """Count a message that is about to be sent.

        Raises:
            BisectBudgetError: it would be one too many, or it is too late.
        """
        if self.calls < self.max_calls and now - self.started <= self.max_s:
            self.calls += 1
            return
        raise BisectBudgetError(
            self.what,
            f"the search for the rows that end their workers took {self.calls} calls and {now - self.started:.0f} s, "
            f"bisect_calls={self.max_calls} and bisect_s={self.max_s:g} are allowed",
            "look into the rows, send smaller batches, or raise these options",
        )


def error_of(what: str, condition: str, fact: str) -> SparkModelError:
    """The error of a batch that is guilty, or known to be."""
    hint = "raise timeout_s, or look into these rows" if condition == PredictTimeoutError.condition else _LOGS
    return SparkModelError.from_dict({"condition": condition, "what": what, "fact": fact, "hint": hint})


def _line(text: str) -> str:
    """The first line of what another system may have said of an end."""
    return text.strip().partition("\n")[0][:_FACT_CHARS]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
