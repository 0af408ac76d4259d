# SPDX-License-Identifier: Apache-2.0
"""How a worker ended, and what that says of the batches that it had."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from sparkmodel.pool.judge import HANG, SILENT, Judge, late
from sparkmodel.pool.pulse import Inside, Reading
from sparkmodel.wire.verdicts import CRASH, EXIT, IN_MODEL, KILLED, OOM, RECEIVED, UNKNOWN, WAITING, Fate
from sparkmodel.wire.verdicts import HANG as HUNG

if TYPE_CHECKING:  # which knows this module
    from sparkmodel.pool.launcher import Member
    from sparkmodel.wire.directory import Endpoint

HUNG_CODE = 70  # EX_SOFTWARE: of a worker whose own watch has ended it, because a call took too long
YOUNG_S = 10.0
_KEPT_S = 60.0
# what anybody may send to be rid of a process, and no program to itself
_SENT = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}


@dataclasses.dataclass(frozen=True, kw_only=True)
class End:
    """Of one worker.

    Attributes:
        cause: As in `sparkmodel.wire.verdicts`; empty for one that its pool has ended.
        fact: The same as a part of a sentence.
        pid: Of its process.
        at: When, in seconds since 1970.
        lived_s: How long it had served; 0 for one that ended while it loaded.
        suspects: The batches that may be why, by session and number.
        is_all: Whether these are all of them.
        received: What it was reading: one of these may be why, too.
        rows, batches, errors: Its counters at the end.
    """

    cause: str = ""
    fact: str = "its worker was ended by its pool"
    pid: int = 0
    at: float = dataclasses.field(default_factory=time.time)
    lived_s: float = 0.0
    suspects: tuple[tuple[int, int], ...] = ()
    is_all: bool = True
    received: tuple[tuple[int, int], ...] = ()
    rows: int = 0
    batches: int = 0
    errors: int = 0

    @property
    def is_false_start(self) -> bool:
        """Whether it ended before it was of any use, by itself: the next one in its place may do the same."""
        return bool(self.cause) and self.cause != KILLED and self.lived_s < YOUNG_S and not self.batches

    def fate_of(self, session: int, seq: int) -> Fate:
        """What became of a batch that it had."""
        if (session, seq) in self.suspects:
            return Fate(fate=IN_MODEL, cause=self.cause, fact=self.fact)
        if (session, seq) in self.received:
            return Fate(fate=RECEIVED, cause=self.cause, fact=self.fact)
        return Fate(fate=WAITING if self.is_all else UNKNOWN, cause=self.cause, fact=self.fact)


class Ends:
    """How the workers of a pool ended: of each for a minute, for callers, and of each slot the latest, for people."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_endpoint: dict[Endpoint, End] = {}
        self._by_slot: dict[Any, End] = {}

    def add(self, member: Member, end: End) -> None:
        """One more has ended."""
        with self._lock:
            since = time.time() - _KEPT_S
            self._by_endpoint = {where: one for where, one in self._by_endpoint.items() if one.at > since}
            self._by_endpoint[member.endpoint] = end
            if end.cause:
                self._by_slot[member.slot] = end

    def at(self, endpoint: Endpoint) -> End | None:
        """Of the worker that served there."""
        return self._by_endpoint.get(endpoint)

    def of(self, slot: Any) -> End | None:
        """The latest in a slot that its pool did not want."""
        return self._by_slot.get(slot)

    @property
    def latest(self) -> End | None:
        """Of all those."""
        with self._lock:
            return max(self._by_slot.values(), key=lambda end: end.at, default=None)

    def forget(self, slots: Collection[Any]) -> None:
        """Those slots but these are not the pool's any more."""
        with self._lock:
            self._by_slot = {slot: end for slot, end in self._by_slot.items() if slot in slots}


def end_of(
    pid: int,
    status: int | None,
    *,
    reading: Reading | None = None,
    judge: Judge | None = None,
    is_wanted: bool = False,
    is_oom: bool = False,
    lived_s: float = 0.0,
    now_ns: int | None = None,
) -> End:
    """The end of a worker, from all that is known of it.

    Args:
        pid: Of its process.
        status: As `os.waitpid` gives it; None where nobody has seen it.
        reading: Of its page.
        judge: Who watched it.
        is_wanted: Whether its pool has ended it.
        is_oom: Whether the system ended a process for want of memory about then.
        lived_s: How long it had served.
        now_ns: CLOCK_MONOTONIC.
    """
    cause, fact = ("", End.fact) if is_wanted else _cause(status, judge, is_oom)
    suspects: Sequence[Inside] = () if reading is None else reading.inside
    if reading is not None and cause == HUNG:
        # those beside it had their time still
        overdue = judge.overdue if judge is not None else ()
        suspects = overdue or late(time.monotonic_ns() if now_ns is None else now_ns, reading) or suspects
    if is_wanted or (judge is not None and judge.blame == SILENT):
        suspects = ()
    seen = reading or Reading(0)
    is_innocent = is_wanted or cause == HUNG or (judge is not None and judge.blame == SILENT)
    return End(
        cause=cause,
        fact=fact,
        pid=pid,
        lived_s=lived_s,
        suspects=tuple((one.session, one.seq) for one in suspects),
        is_all=seen.is_all or not suspects,
        received=() if is_innocent else tuple((one.session, one.seq) for one in seen.receiving),
        rows=seen.rows,
        batches=seen.batches,
        errors=seen.errors,
    )


def _cause(status: int | None, judge: Judge | None, is_oom: bool) -> tuple[str, str]:
    blame = "" if judge is None else judge.blame
    code = None if status is None else os.waitstatus_to_exitcode(status)
    if blame == HANG or code in (HUNG_CODE, -signal.SIGALRM):
        return HUNG, "a call of the model took longer than timeout_s, and its worker was ended"
    if judge is not None and judge.is_starved:
        return KILLED, "its worker waited for a core for a minute, and was ended"
    if blame == SILENT:
        return KILLED, "its worker did not go on for 10 s, and was ended"
    if code is None:
        return KILLED, "its worker has ended, and nobody saw how"
    if code >= 0:
        return EXIT, f"its worker ended itself with code {code}"
    if code == -signal.SIGKILL and is_oom:
        return OOM, "its worker was ended by the system for want of memory"
    return (KILLED if -code in _SENT else CRASH), f"its worker was ended by {_name(-code)}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
