# SPDX-License-Identifier: Apache-2.0
"""The parts of the long shows that need no engine: their schedule, their detours, their sums."""

from __future__ import annotations

import socket
import threading

import pandas as pd
import pytest

from tests.endurance import chaos, soak
from tests.endurance.load import Load, Seen, look, quantile
from tests.endurance.roads import Roads
from tests.endurance.schedule import GAP_S, LAST_S, events
from tests.endurance.watch import Taken

KINDS = ["a", "b", "c", "d"]


def test_a_schedule_is_a_function_of_its_seed() -> None:
    made = events(7, 600, KINDS)
    assert made == events(7, 600, KINDS)
    assert made != events(8, 600, KINDS)
    assert made[: len(events(7, 60, KINDS))] == events(7, 60, KINDS), "a longer run begins as a shorter one"
    assert [event.at_s for event in made] == sorted(event.at_s for event in made)
    assert made[-1].at_s < 600
    assert len(made) >= 600 / GAP_S[1]
    for first in range(0, len(made) - len(KINDS), len(KINDS)):
        assert sorted(event.kind for event in made[first : first + len(KINDS)]) == KINDS
    assert all(LAST_S[0] <= event.last_s <= LAST_S[1] for event in made)


def test_who_is_hit_is_one_of_those_that_are_there() -> None:
    picks = {event.of([10, 20, 30]) for event in events(3, 600, KINDS)}
    assert picks == {10, 20, 30}
    with pytest.raises(IndexError):
        events(3, 60, KINDS)[0].of([])


def test_only_threads_of_the_name_go_through_proxies_and_a_dark_one_brings_nothing() -> None:
    answers = []

    def ask() -> None:
        with socket.create_connection(listener.getsockname(), timeout=2) as sock:
            sock.sendall(b"?")
            try:
                answers.append(sock.recv(1))
            except TimeoutError:
                answers.append(b"silence")

    def asked_by(name: str) -> bytes:
        thread = threading.Thread(target=ask, name=name)
        thread.start()
        thread.join(60)
        return answers[-1]

    def serve() -> None:
        while True:
            try:
                sock = listener.accept()[0]
            except OSError:
                return
            with sock:
                sock.sendall(sock.recv(1).replace(b"?", b"!"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        with Roads("load-x").taken() as roads:
            assert asked_by("load-x") == b"!"
            assert roads.ports() == [port]
            roads.turn(port, is_dark=True)
            assert asked_by("other") == b"!"
            assert asked_by("load-x") == b"silence"
            roads.turn(port, is_dark=False)
            assert asked_by("load-x") == b"!"
        assert asked_by("load-x") == b"!"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("mib_a_minute", "heap", "more", "directories", "found"),
    [
        (0.0, 0.0, 0, 0, ""),
        (0.9, 0.6, 16, 0, ""),
        (1.5, 0.0, 0, 0, "driver grows by 1.50 MiB a minute"),
        (0.0, 1.5, 0, 0, "376 MiB live in the heap where 332 did"),
        (0.0, 0.0, 17, 0, "driver has 117 descriptors where it had 100"),
        (0.0, 0.0, 0, 1, "1 directories under /tmp where 0 were"),
    ],
)
def test_what_grows_beyond_its_limit_is_found(
    mib_a_minute: float, heap: float, more: int, directories: int, found: str
) -> None:
    samples = soak.Samples()
    for minute in range(60):
        is_late = minute > 40
        samples.times.append(minute * 60.0)
        samples.directories.append(directories * is_late)
        samples.heap.append(300 + minute * heap + minute % 3)
        mib = 500 + minute * mib_a_minute + minute % 2
        samples.taken.setdefault("driver", []).append(Taken(mib, 100 + more * is_late, 20, 3))
    assert samples.faults() == ([found] if found else [])


def test_a_slope_is_that_of_the_line_through_the_points() -> None:
    assert soak.slope_of([0, 60, 120], [1, 3, 5]) == pytest.approx(2)
    assert soak.slope_of([5], [1]) == 0


def test_errors_are_counted_by_condition_and_calls_that_come_late_are_found() -> None:
    load = Load()
    seen = load.seen["direct"] = Seen(calls=1, rows=1, longest_s=chaos.DEADLINE_S + chaos.LATE_S + 0.1)
    seen.errors += [
        "x.WorkerLostError: [WORKER_LOST] Cannot score",
        "KeyError: 'a'",
        "PythonException: ... [POOL_GONE]",
    ]
    assert chaos._conditions(load) == {"WORKER_LOST": 1, "POOL_GONE": 1, "not ours: \"KeyError: 'a'\"": 1}
    assert [fault[:19] for fault in chaos._late(load)] == ["a direct call took "]
    assert len(load.stop()) == 3
    seen.longest_s = chaos.DEADLINE_S
    assert chaos._late(load) == []


def test_callers_find_wrong_rows_two_versions_and_count_what_they_saw_together() -> None:
    seen = Seen()
    model = [chaos.Oracle(number).predict(pd.DataFrame({"a": range(10), "b": range(10)})) for number in (1, 2)]

    def call() -> None:
        for _ in range(200):
            look(seen, zip(model[0], range(10), range(10), strict=True))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (seen.rows, seen.wrong, seen.mixed) == (8000, 0, 0)
    look(seen, zip([*model[0][:5], *model[1][5:]], range(10), range(10), strict=True))
    assert (seen.wrong, seen.mixed) == (0, 1)
    look(seen, zip(model[0], reversed(range(10)), range(10), strict=True))
    assert (seen.wrong, seen.mixed) == (10, 1)


def test_waits_are_those_of_the_calls_that_were_under_way() -> None:
    seen = Seen(times=[(0.0, 1.0), (2.0, 0.5), (3.0, 4.0), (9.0, 0.1)])
    assert seen.between(2.1, 5.0) == [0.5, 4.0]
    assert seen.between(1.0, 2.0) == []
    assert [quantile([1.0, 2.0, 3.0, 4.0], part) for part in (0.0, 0.5, 0.99)] == [1.0, 3.0, 4.0]
    assert quantile([], 0.5) == 0.0


def test_only_a_kind_that_is_timed_keeps_its_times() -> None:
    load = Load()
    load.start("timed", lambda seen: None, pause_s=0.001, is_timed=True)
    load.start("other", lambda seen: None, pause_s=0.001)
    load.wait_for(3)
    load.stop()
    assert len(load.seen["timed"].times) >= 3
    assert load.seen["other"].times == []
