# SPDX-License-Identifier: Apache-2.0
"""What is decided of a batch that lost its worker: pure logic."""

from __future__ import annotations

import pytest

from sparkmodel.errors import BisectBudgetError, PredictTimeoutError
from sparkmodel.wire import verdicts as v
from sparkmodel.wire.condemned import Condemned
from sparkmodel.wire.losses import Bisection, History, Step, error_of
from sparkmodel.wire.rounds import Rounds, Said
from sparkmodel.wire.verdicts import Fate, Verdict

AGAIN, ALONE, GUILTY, LOST = Step.AGAIN, Step.ALONE, Step.GUILTY, Step.LOST
UNKNOWN, LIVES, WAITED, SILENT = (Fate(fate=fate) for fate in (v.UNKNOWN, v.ALIVE, v.WAITING, v.SILENT))
CRASHED, KILLED, HUNG, OUT_OF_MEMORY = (
    Fate(fate=v.IN_MODEL, cause=cause, fact=f"it was {cause}") for cause in (v.CRASH, v.KILLED, v.HANG, v.OOM)
)


@pytest.mark.parametrize(
    ("fates", "max_retries", "steps"),
    [
        ([UNKNOWN, LIVES, UNKNOWN], 2, [AGAIN, AGAIN, LOST]),
        ([UNKNOWN], 0, [LOST]),
        ([WAITED, SILENT] * 50, 0, [AGAIN] * 100),
        ([CRASHED, OUT_OF_MEMORY], 3, [ALONE, GUILTY]),
        ([CRASHED, KILLED, WAITED, CRASHED], 3, [ALONE, ALONE, AGAIN, GUILTY]),
        ([KILLED] * 4, 3, [ALONE, ALONE, ALONE, GUILTY]),
        ([HUNG], 3, [GUILTY]),
        ([HUNG], 0, [GUILTY]),
        ([CRASHED], 0, [LOST]),
        ([KILLED], 0, [LOST]),
        ([UNKNOWN, CRASHED, UNKNOWN, UNKNOWN], 2, [AGAIN, ALONE, AGAIN, LOST]),
    ],
)
def test_what_the_master_saw_decides(fates: list[Fate], max_retries: int, steps: list[Step]) -> None:
    history = History(9, "batch 1")
    assert [history.judge(fate, max_retries) for fate in fates] == steps


def test_half_of_a_batch_that_crashed_is_guilty_at_once_unless_it_was_killed() -> None:
    whole = History(8, "batch 1", version=3)
    whole.judge(CRASHED, 3)
    assert whole.judge(CRASHED, 3) is GUILTY
    half = whole.half(4)
    assert [half.judge(fate, 3) for fate in (KILLED, KILLED, CRASHED)] == [ALONE, ALONE, GUILTY]
    assert half.guilt() == "4 rows of batch 1 ended 3 workers of version 3, the last: it was crash"


def test_half_of_a_batch_that_was_killed_too_often_is_guilty_at_the_next_kill() -> None:
    whole = History(8, "batch 1", version=3)
    assert [whole.judge(KILLED, 1) for _ in range(2)] == [ALONE, GUILTY]
    half = whole.half(4)
    assert half.judge(KILLED, 1) is GUILTY
    assert half.half(2).decides, "and so on, down to the row"


def test_another_version_was_not_ended_by_it() -> None:
    history = History(1, "batch 1")
    history.given_to(1)
    assert history.judge(CRASHED, 3) is ALONE
    history.given_to(2)
    assert history.judge(CRASHED, 3) is ALONE
    history.given_to(2)
    assert history.judge(CRASHED, 3) is GUILTY


def test_errors_name_the_place_the_version_and_the_end() -> None:
    history = History(1, "partition 4, batch 2")
    history.given_to(7)
    history.judge(CRASHED, 3)
    history.judge(CRASHED, 3)
    error = error_of("Cannot score with 'm'", history.condition(), history.guilt())
    assert str(error) == (
        "[POISON_BATCH] Cannot score with 'm': 1 row of partition 4, batch 2 ended 2 workers of version 7, the last: "
        "it was crash. Hint: look into these rows, and into the worker's log."
    )
    history.judge(HUNG, 3)
    error = error_of("Cannot score with 'm'", history.condition(), history.guilt())
    assert isinstance(error, PredictTimeoutError)
    assert error.fact == "1 row of partition 4, batch 2 took the model, version 7, too long: it was hang"


def test_what_somebody_says_of_an_end_is_a_line_at_most() -> None:
    history = History(1, "batch 1", version=7)
    history.judge(Fate(fate=v.IN_MODEL, cause=v.CRASH, fact="a long story\n" + "of its end " * 100), 3)
    assert history.guilt().endswith("the last: a long story")


def test_a_search_ends_at_its_calls_and_at_its_time() -> None:
    few, short = Bisection("w", 2, 60.0, started=10.0), Bisection("w", 100, 60.0, started=10.0)
    few.take(11.0)
    few.take(12.0)
    with pytest.raises(BisectBudgetError, match="took 2 calls and 3 s, bisect_calls=2 and bisect_s=60"):
        few.take(13.0)
    short.take(70.0)
    with pytest.raises(BisectBudgetError):
        short.take(70.1)


def verdict(version: int = 1, key: str = "k", rows: int = 2) -> Verdict:
    return Verdict(version=version, key=key, rows=rows, bytes=100, condition="POISON_BATCH", fact="f")


def test_a_hash_is_taken_only_of_a_batch_of_a_size_that_is_known() -> None:
    condemned, hashed = Condemned(), []

    def key() -> str:
        hashed.append(1)
        return "k"

    told = (verdict(), verdict(key="other", rows=3))
    assert condemned.find((), 1, 2, 100, key) is None
    for version, rows, size in ((2, 2, 100), (1, 1, 100), (1, 2, 99), (None, 2, 100)):
        assert condemned.find(told, version, rows, size, key) is None
    assert not hashed
    assert condemned.find(told, 1, 2, 100, key) == verdict()
    assert condemned.find(told, 1, 3, 100, key) is None
    assert condemned.find((), 1, 2, 100, key) is None, "the directory has let it go"


def test_a_clients_own_verdicts_are_kept_for_an_hour_and_not_without_end() -> None:
    now = [0.0]
    condemned = Condemned(lambda: now[0])
    condemned.add(verdict())
    now[0] = 3599.0
    assert condemned.find((), 1, 2, 100, lambda: "k") == verdict()
    now[0] = 3601.0
    assert condemned.find((), 1, 2, 100, lambda: "k") is None
    assert condemned.find((verdict(),), 1, 2, 100, lambda: "k") == verdict(), "the master's word holds"
    for number in range(200):
        condemned.add(verdict(key=str(number)))
    assert condemned.find((), 1, 2, 100, lambda: "0") is None
    assert condemned.find((), 1, 2, 100, lambda: "199") is not None


def test_what_was_said_serves_those_who_ask_soon_after() -> None:
    now, asked = [0.0], []
    rounds = Rounds(lambda: now[0])

    def ask() -> Said:
        asked.append(now[0])
        return Said(7, heard=now[0])

    for at in (0.0, 0.1, 0.2, 0.3, 0.5, 0.6):
        now[0] = at
        assert rounds.of(("", ""), ask, 1.0).version == 7
    assert asked == [0.0, 0.3, 0.6]
    rounds.of(("q", ""), ask, 1.0)
    assert len(asked) == 4, "another question"
    now[0] = 9.0
    rounds.of(("r", ""), ask, 1.0)
    assert list(rounds._said) == [("r", "")], "old ones are forgotten"


def test_an_error_is_for_the_one_who_asked() -> None:
    rounds = Rounds()
    with pytest.raises(KeyError):
        rounds.of(("", ""), lambda: {}["no"], 1.0)  # type: ignore[return-value]
    assert rounds.of(("", ""), lambda: Said(3), 1.0).version == 3
