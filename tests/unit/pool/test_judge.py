# SPDX-License-Identifier: Apache-2.0
"""What is decided about a worker that is seen to do this or that, and what its end says of its batches."""

from __future__ import annotations

import pathlib
import signal

import pytest

from sparkmodel.pool.ends import End, end_of
from sparkmodel.pool.judge import ABORT, KILL, NOTHING, READY, SILENT, STUCK, Judge
from sparkmodel.pool.pulse import SLOTS, Inside, Pulse, Reading, Watched
from sparkmodel.wire.verdicts import CRASH, EXIT, HANG, IN_MODEL, KILLED, OOM, RECEIVED, UNKNOWN, WAITING

S = 1_000_000_000


def seen(beat_s: float, *since: float, timeout_s: float = 5.0) -> Reading:
    inside = tuple(Inside(1, seq, int(s * S)) for seq, s in enumerate(since))
    return Reading(int(beat_s * S), inside, timeout_ns=int(timeout_s * S))


def looks(judge: Judge, *sights: tuple[float, Reading, bool]) -> list[tuple[str, str]]:
    return [(judge.look(int(now * S), reading, stopped), judge.state) for now, reading, stopped in sights]


def test_a_model_that_holds_the_lock_has_its_time_and_no_more() -> None:
    judge = Judge()
    stuck = seen(10.1, 10.2, 14.0)  # the heart stands still since then
    assert looks(judge, *((now, stuck, False) for now in (11.0, 14.0, 16.1))) == [
        (NOTHING, READY),
        (NOTHING, STUCK),  # which is not silent: it has its batch, and may answer it
        (NOTHING, STUCK),
    ]
    assert looks(judge, (16.3, stuck, False)) == [(ABORT, SILENT)]
    assert [one.seq for one in judge.overdue] == [0], "the other one has its time still"
    assert looks(judge, (17.0, stuck, False), (18.4, stuck, False)) == [(NOTHING, SILENT), (KILL, SILENT)]
    assert judge.blame == "hang"


def test_a_worker_that_looks_after_itself_ends_itself() -> None:
    judge = Judge()
    assert looks(judge, *((now, seen(now, 10.0), False) for now in (16.5, 20.0, 24.9))) == [(NOTHING, READY)] * 3
    assert looks(judge, (25.1, seen(25.1, 10.0), False)) == [(ABORT, SILENT)], "or not"


def test_one_that_is_stopped_is_given_up_after_ten_seconds_whoever_is_in_the_model() -> None:
    judge = Judge()
    frozen = seen(10.0, 9.0)
    assert looks(judge, (10.5, frozen, True)) == [(NOTHING, READY)], "a debugger may stop it for a moment"
    assert looks(judge, *((now, frozen, True) for now in (10.75, 16.0, 20.4))) == [(NOTHING, SILENT)] * 3
    assert looks(judge, (20.5, frozen, True)) == [(KILL, SILENT)]
    assert judge.blame == "silent"


def test_one_that_waits_for_a_core_is_left_out_and_not_ended_for_a_minute() -> None:
    judge, frozen, now = Judge(), seen(10.0), 13.25
    acts = []
    while now < 90 and KILL not in acts:
        acts.append(judge.look(int(now * S), frozen, False, True))
        now += 0.25
    assert 73 <= now <= 74
    assert (judge.state, judge.blame, judge.is_starved) == (SILENT, SILENT, True)
    end = end_of(1, signal.SIGKILL, reading=seen(1.0, 1.0), judge=judge)
    assert (end.cause, end.suspects) == (KILLED, ())
    assert end.fact == "its worker waited for a core for a minute, and was ended"


def test_the_time_for_which_it_waits_for_a_core_does_not_count() -> None:
    judge, frozen = Judge(), seen(10.0)
    for quarter in range(4 * 20):  # it waits for 20 s
        assert judge.look(int((13.25 + quarter / 4) * S), frozen, False, True) == NOTHING
    assert judge.look(int(42.75 * S), frozen, False, False) == NOTHING, "and does nothing for 9.75 s"
    assert judge.look(int(43.25 * S), frozen, False, False) == KILL
    assert not judge.is_starved
    assert end_of(1, signal.SIGKILL, judge=judge).fact == "its worker did not go on for 10 s, and was ended"


def test_one_that_gets_a_core_is_ready_again_and_has_all_of_its_time_anew() -> None:
    judge = Judge()
    for now in (13.25, 13.5, 70.0):
        judge.look(int(now * S), seen(10.0), False, True)
    assert looks(judge, (70.5, seen(70.4), False)) == [(NOTHING, READY)]
    assert [judge.look(int(now * S), seen(70.4), False, True) for now in (74.0, 110.0, 133.9)] == [NOTHING] * 3
    assert judge.look(int(134.1 * S), seen(70.4), False, True) == KILL


def test_one_that_goes_on_before_is_ready_again() -> None:
    judge = Judge()
    assert looks(judge, (13.1, seen(10.0), False), (13.4, seen(10.0), False)) == [(NOTHING, READY), (NOTHING, SILENT)]
    assert looks(judge, (14.0, seen(13.9), False)) == [(NOTHING, READY)]
    assert looks(judge, (23.5, seen(20.0), False), (23.8, seen(20.0), False)) == [(NOTHING, READY), (NOTHING, SILENT)]


def test_limits_may_change_while_a_call_is_under_way() -> None:
    judge = Judge()
    assert looks(judge, (30.0, seen(12.0, 12.0, timeout_s=60.0), False)) == [(NOTHING, STUCK)]
    assert looks(judge, (30.1, seen(12.0, 12.0), False)) == [(ABORT, SILENT)]


@pytest.mark.parametrize(
    ("status", "is_oom", "cause", "fact"),
    [
        (signal.SIGKILL, False, KILLED, "its worker was ended by SIGKILL"),
        (signal.SIGKILL, True, OOM, "its worker was ended by the system for want of memory"),
        (signal.SIGTERM, True, KILLED, "its worker was ended by SIGTERM"),
        (signal.SIGSEGV | 0x80, True, CRASH, "its worker was ended by SIGSEGV"),  # with a core dump
        (signal.SIGALRM, False, HANG, "a call of the model took longer than timeout_s, and its worker was ended"),
        (70 << 8, False, HANG, "a call of the model took longer than timeout_s, and its worker was ended"),
        (3 << 8, False, EXIT, "its worker ended itself with code 3"),
        (40, False, CRASH, "its worker was ended by signal 40"),
        (None, False, KILLED, "its worker has ended, and nobody saw how"),
    ],
)
def test_why_it_ended(status: int | None, is_oom: bool, cause: str, fact: str) -> None:
    end = end_of(1, status, reading=seen(1.0, 1.0, 99.0), is_oom=is_oom, now_ns=100 * S)
    assert (end.cause, end.fact) == (cause, fact)
    assert end.suspects == (((1, 0),) if cause == HANG else ((1, 0), (1, 1)))
    assert [end.fate_of(1, seq).fate for seq in (0, 2)] == [IN_MODEL, WAITING]


@pytest.mark.parametrize(
    ("status", "fate"),
    [(signal.SIGSEGV, RECEIVED), (signal.SIGKILL, RECEIVED), (3 << 8, RECEIVED), (70 << 8, WAITING)],
)
def test_what_was_being_read_may_be_why_unless_something_else_is(status: int, fate: str) -> None:
    reading = Reading(S, receiving=(Inside(1, 9, S),))
    end = end_of(1, status, reading=reading, now_ns=100 * S)
    assert [end.fate_of(1, seq).fate for seq in (9, 8)] == [fate, WAITING]
    assert end_of(1, status, reading=reading, is_wanted=True).fate_of(1, 9).fate == WAITING
    silent = Judge()
    silent.blame = SILENT
    assert end_of(1, status, reading=reading, judge=silent).fate_of(1, 9).fate in (WAITING, fate)


def test_a_start_is_false_only_by_itself_and_before_it_was_of_use() -> None:
    assert End(cause=CRASH).is_false_start
    assert End(cause=OOM, lived_s=9.0).is_false_start
    assert not End(cause=CRASH, lived_s=11.0).is_false_start
    assert not End(cause=CRASH, lived_s=1.0, batches=1).is_false_start
    assert not End(cause=KILLED).is_false_start
    assert not End().is_false_start


def test_a_page_tells_what_its_worker_was_at(tmp_path: pathlib.Path) -> None:
    pulse = Pulse(tmp_path / "page")
    watched = Watched(tmp_path / "page")
    pulse.limit(5.0)
    pulse.count(10, 1, 0)
    with pulse.inside([(1, 7)]), pulse.inside([(2, 8), (3, 9)]):
        reading = watched.read()
        assert sorted((one.session, one.seq) for one in reading.inside) == [(1, 7), (2, 8), (3, 9)]
    assert (reading.timeout_ns, reading.rows, reading.batches, reading.is_all) == (5 * S, 10, 1, True)
    assert watched.read().inside == ()
    with pulse.receiving(4, 10), pulse.inside([(5, 11)]):
        reading = watched.read()
        assert [(one.session, one.seq) for one in reading.inside] == [(5, 11)]
        assert [(one.session, one.seq) for one in reading.receiving] == [(4, 10)]
    assert (watched.read().inside, watched.read().receiving) == ((), ())
    with pulse.inside([(1, seq) for seq in range(SLOTS)]), pulse.receiving(4, 10):
        assert (watched.read().receiving, watched.read().is_all) == ((), True)
    before = reading.heartbeat_ns
    pulse.beat()
    assert watched.read().heartbeat_ns > before
    with pulse.inside([(1, seq) for seq in range(SLOTS + 1)]):
        crowd = watched.read()
    assert (len(crowd.inside), crowd.is_all) == (SLOTS, False)
    assert end_of(1, signal.SIGSEGV, reading=crowd).fate_of(1, SLOTS).fate == UNKNOWN
    assert watched.read().is_all
    pulse.close()
    watched.close()
    (tmp_path / "other").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="no pulse"):
        Watched(tmp_path / "other")
