# SPDX-License-Identifier: Apache-2.0
"""Whether a worker is well, as another process of its host sees it, and what is to be done about one that is not."""

from __future__ import annotations

from sparkmodel.pool.pulse import Inside, Reading

READY, STUCK, SILENT = "ready", "stuck", "silent"
LOST = "lost"  # of all workers of a host that nothing was heard of for a while
NOTHING, ABORT, KILL = "", "abort", "kill"  # ABORT has it write its stacks, and end
HANG = "hang"

_S = 1_000_000_000
LATE = 1 * _S  # for a heart that beats four times a second
_SILENT = 3 * _S
_GIVEN_UP = 10 * _S
_STARVED = 60 * _S  # for one that the machine gives no core: another one in its place would get none either
_HUNG = 1 * _S  # beyond the longest call, for a worker that does not look after itself any more
_HUNG_THOUGH_WATCHED = 10 * _S  # for one that does: it tells its callers, and ends itself
_DYING = 2 * _S


class Judge:
    """Of one worker that serves. It is told what is seen, and decides; it does nothing itself.

    A call over the longest time is a hang: at once where the worker's own watch is stuck too, as when the model holds
    Python's lock, and later where it is not. A worker that is stopped, or whose watch is stuck though nobody is in the
    model, is silent: callers are sent elsewhere, and after ten seconds it is ended; it is ready again if it goes on.
    The time in which it could go on, and only waited for a core, does not count to these, up to a minute in all.

    Attributes:
        state: `ready`, `stuck` (it answers nothing, and a call of the model has its time still), or `silent`.
        blame: Why it is ended: `hang`, `silent`; empty as long as it is not.
        is_starved: Whether it is ended because it got no core.
        overdue: The batches of the calls that hung.
    """

    def __init__(self) -> None:
        self.state, self.blame, self.is_starved = READY, "", False
        self.overdue: tuple[Inside, ...] = ()
        self._bad_since: int | None = None
        self._looked = self._waited = 0
        self._aborted: int | None = None

    def look(self, now_ns: int, reading: Reading, is_stopped: bool, waits: bool = False) -> str:
        """What is to be done now.

        Args:
            now_ns: CLOCK_MONOTONIC.
            reading: Of its page.
            is_stopped: Whether the system does not let it run, as after SIGSTOP.
            waits: Whether it could go on, but waited for a core since the look before; False where nobody can tell.
        """
        if self._aborted is not None:
            return KILL if now_ns - self._aborted >= _DYING else NOTHING
        beat_ago = now_ns - reading.heartbeat_ns
        overdue = () if is_stopped else self._overdue(now_ns, reading, beat_ago > LATE)
        if overdue:
            self.overdue, self.blame, self.state, self._aborted = overdue, HANG, SILENT, now_ns
            return ABORT
        if not (is_stopped or (beat_ago > _SILENT and not reading.inside)):
            self.state, self._bad_since = (STUCK if beat_ago > LATE else READY), None
            return NOTHING
        if self._bad_since is None:  # seen once: a debugger may look at it, or all of the host may have stood still
            self._bad_since = self._looked = now_ns
            self._waited = 0
            return NOTHING
        self.state = SILENT
        if waits:
            self._waited += now_ns - self._looked
        self._looked = now_ns
        bad = now_ns - self._bad_since
        if bad - self._waited < _GIVEN_UP and bad < _STARVED:
            return NOTHING
        self.blame, self.is_starved = SILENT, bad >= _STARVED
        return KILL

    @staticmethod
    def _overdue(now_ns: int, reading: Reading, is_stuck: bool) -> tuple[Inside, ...]:
        if not reading.timeout_ns:
            return ()
        limit = reading.timeout_ns + (_HUNG if is_stuck else _HUNG_THOUGH_WATCHED)
        return tuple(one for one in reading.inside if now_ns - one.started_ns > limit)


def over(now_ns: int, reading: Reading, session: int, seq: int) -> int:
    """By how many nanoseconds the call of a batch has taken longer than it may; far below 0 where it is in none."""
    started = [one.started_ns for one in reading.inside if (one.session, one.seq) == (session, seq)]
    return now_ns - min(started) - reading.timeout_ns if started and reading.timeout_ns else -now_ns


def late(now_ns: int, reading: Reading) -> tuple[Inside, ...]:
    """The batches whose call takes longer than it may."""
    return tuple(one for one in reading.inside if 0 < reading.timeout_ns <= now_ns - one.started_ns)
