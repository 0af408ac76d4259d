# SPDX-License-Identifier: Apache-2.0
"""Watches the workers of one node from outside: ends those that hang or are silent, and tells how each ended."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import pathlib
import select
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Protocol

from sparkmodel.cluster import reaper
from sparkmodel.cluster.sight import Eye
from sparkmodel.pool.ends import End, end_of
from sparkmodel.pool.judge import ABORT, KILL, LATE, READY, SILENT, Judge, over
from sparkmodel.pool.pulse import Watched
from sparkmodel.wire.verdicts import ALIVE, HANG, IN_MODEL, UNKNOWN, WAITING, Fate
from sparkmodel.wire.verdicts import SILENT as NOT_HEARD

_log = logging.getLogger(__name__)
LOOK_S = 0.25
_NEWS_S, _STEP_S = 4.0, 0.02
_ALMOST_NS = 600_000_000
_OOM_S = 3.0  # a large process takes its time to end
_KEPT_S = 60.0


class Process(Protocol):
    """What is watched.

    Attributes:
        pid: Of the process.
        exited: Done when it has ended, with its status as `os.waitpid` gives it, or None.
    """

    pid: int
    exited: Future[int | None]

    def send(self, number: int) -> None:
        """Send it a signal; nothing if it has ended."""


class Charge:
    """One worker that is watched.

    Args:
        process: Its process.
        page: File of its pulse.
        has_oom: Whether the system has just ended a process for want of memory.

    Attributes:
        end: Done when it has ended.
        is_wanted: Whether its pool ends it; set by who does.
    """

    def __init__(self, process: Process, page: pathlib.Path, has_oom: Callable[[], bool]) -> None:
        self.end: Future[End] = Future()
        self.is_wanted = False
        self._process, self._has_oom = process, has_oom
        self._page: Watched | None = None
        with contextlib.suppress(OSError, ValueError):  # it has ended, with its directory: then only its status tells
            self._page = Watched(page)
        self._eye = Eye(process.pid)
        self._judge, self._lock, self._began = Judge(), threading.Lock(), time.monotonic()
        process.exited.add_done_callback(self._ended)

    @property
    def state(self) -> str:
        """`ready` or `silent`."""
        return self._judge.state

    def look(self) -> None:
        """Look once, and do what is to be done."""
        with self._lock:
            if self._page is None or self.end.done() or self.is_wanted:
                return
            before = self._judge.blame
            now_ns, reading = time.monotonic_ns(), self._page.read()
            sight = self._eye.look(now_ns, now_ns - reading.heartbeat_ns > LATE)
            act = self._judge.look(now_ns, reading, sight.is_stopped, sight.waits)
        if self._judge.blame != before:
            _log.warning("worker %d is ended: %s", self._process.pid, self._judge.blame)
        if act in (ABORT, KILL):
            self._process.send(signal.SIGABRT if act == ABORT else signal.SIGKILL)

    def fate(self, session: int, seq: int) -> Fate:
        """What became of one of its batches; waits for the news of its end, or of its life, for 4 s at most."""
        asked, until = time.monotonic_ns(), time.monotonic() + _NEWS_S
        while True:
            with contextlib.suppress(FutureTimeoutError):
                return self.end.result(_STEP_S).fate_of(session, seq)
            with self._lock:
                reading = None if self._page is None or self.end.done() else self._page.read()
            lives = reading is not None and reading.heartbeat_ns > asked
            if not lives and self.state == SILENT and not self._judge.blame:
                return Fate(fate=NOT_HEARD, fact="its worker does not go on")
            # who asks may have given it as long as a call may take: then the one has ended just before the other
            over_ns = -_ALMOST_NS - 1 if reading is None else over(time.monotonic_ns(), reading, session, seq)
            if reading is not None and over_ns >= 0:
                is_stuck = time.monotonic_ns() - reading.heartbeat_ns > LATE
                return Fate(fate=IN_MODEL if is_stuck else ALIVE, cause=HANG, fact="the call is being ended")
            if lives and over_ns < -_ALMOST_NS:
                return Fate(fate=ALIVE, fact="its worker lives")
            if time.monotonic() > until:
                break
        if reading is None:
            return Fate(fate=UNKNOWN)
        is_inside = (session, seq) in {(one.session, one.seq) for one in reading.inside}
        fact = "a call of the model keeps its worker from answering"
        return Fate(fate=ALIVE if is_inside or not reading.is_all else WAITING, fact=fact)

    def _ended(self, exited: Future[int | None]) -> None:
        with self._lock:
            reading = None if self._page is None else self._page.read()
            end = end_of(
                self._process.pid,
                exited.result(),
                reading=reading,
                judge=self._judge,
                is_wanted=self.is_wanted,
                is_oom=self._has_oom(),
                lived_s=time.monotonic() - self._began,
            )
            if self._page is not None:
                self._page.close()
                self._page = None
        if end.cause:
            _log.warning("worker %d has ended: %s", end.pid, end.fact)
        self.end.set_result(end)


class Watch:
    """Looks at all of them, four times a second, in a thread of its own."""

    def __init__(self) -> None:
        self._charges: dict[str, Charge] = {}
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._kills: collections.deque[tuple[float, int]] = collections.deque(maxlen=int(2 * _OOM_S / LOOK_S))
        self._thread: threading.Thread | None = None

    def add(self, key: str, process: Process, page: pathlib.Path) -> Charge:
        """Watch a worker that serves."""
        charge = Charge(process, page, self._has_oom)
        with self._lock:
            self._charges[key] = charge
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sparkmodel-watch", daemon=True)
                self._thread.start()
        charge.end.add_done_callback(lambda _: self._sweep())
        return charge

    def wants_end(self, key: str) -> None:
        """Its pool ends it: whatever comes is nobody's fault."""
        charge = self._charges.get(key)
        if charge is not None:
            charge.is_wanted = True

    def states(self) -> dict[str, str]:
        """Of those that are not ready."""
        with self._lock:
            charges = list(self._charges.items())
        return {key: charge.state for key, charge in charges if charge.state != READY and not charge.end.done()}

    def fate(self, key: str, session: int, seq: int) -> Future[Fate]:
        """What became of a batch of a worker here."""
        answer: Future[Fate] = Future()
        charge = self._charges.get(key)
        if charge is None:
            answer.set_result(Fate(fate=UNKNOWN))
            return answer

        def ask() -> None:
            try:
                answer.set_result(charge.fate(session, seq))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=ask, name="sparkmodel-fate", daemon=True).start()
        return answer

    def close(self) -> None:
        """Watch nothing any more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(LOOK_S):
            self._kills.append((time.monotonic(), oom_kills()))
            with self._lock:
                charges = list(self._charges.values())
            for charge in charges:
                try:
                    charge.look()
                except Exception:  # the others are to be watched
                    _log.exception("a worker could not be looked at")

    def _has_oom(self) -> bool:
        since = time.monotonic() - _OOM_S
        before = next((kills for at, kills in list(self._kills) if at >= since), None)
        return before is not None and oom_kills() > before

    def _sweep(self) -> None:
        """Forget those that nobody asks for any more."""
        now = time.time()
        with self._lock:
            self._charges = {
                key: charge
                for key, charge in self._charges.items()
                if not charge.end.done() or now - charge.end.result().at < _KEPT_S
            }


def oom_kills() -> int:
    """How many processes the system has ended for want of memory since it started; 0 where it does not say."""
    try:
        lines = pathlib.Path("/proc/vmstat").read_bytes().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)


class Stranger:
    """A process of this node that somebody else has started.

    Args:
        pid: Of it.

    Raises:
        OSError: it has ended.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self._handle = pid, os.pidfd_open(pid)
        self.exited: Future[int | None] = Future()
        self._lock = threading.Lock()
        threading.Thread(target=self._wait, name="sparkmodel-stranger", daemon=True).start()

    def send(self, number: int) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, number)

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        poll.poll()
        status = reaper.status_from(self._handle)
        with self._lock:
            os.close(self._handle)
            self._handle = -1
        self.exited.set_result(status)
