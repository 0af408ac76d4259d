# SPDX-License-Identifier: Apache-2.0
"""What a master tells of workers that died or are silent, and how soon it replaces them, without processes."""

from __future__ import annotations

import threading
import time

import pytest

from sparkmodel.pool import healing
from sparkmodel.pool.budget import RestartBudget
from sparkmodel.pool.ends import End
from sparkmodel.pool.judge import LOST, READY, SILENT
from sparkmodel.wire import protocol as p
from sparkmodel.wire.verdicts import ALIVE, CRASH, IN_MODEL, KILLED, UNKNOWN, WAITING, Fate, Verdict
from tests import models
from tests.unit.pool.test_master_healing import MakePool, is_whole
from tests.unit.pool.toys import TOKEN, Clock, RunningPool, eventually, score
from tests.unit.wire.toys import RawClient

CRASHED = End(cause=CRASH, fact="its worker was ended by SIGSEGV", pid=7, lived_s=60.0, suspects=((3, 4),))


def verdict(version: int = 1, key: str = "k") -> Verdict:
    return Verdict(version=version, key=key, rows=3, bytes=300, condition="POISON_BATCH", fact="it ended 2 workers")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, str]]:
    """The slots and causes whose budgets were asked; all of them grant at once."""
    seen: list[tuple[object, str]] = []

    class Generous(RestartBudget):
        def take(self) -> float:
            return 0.0

    budget_of = healing.Healer._budget_of

    def ask(healer: healing.Healer, version: int, slot: object, cause: str) -> RestartBudget:
        seen.append((slot, cause))
        assert type(budget_of(healer, version, slot, cause)) is RestartBudget
        return Generous()

    monkeypatch.setattr(healing.Healer, "_budget_of", ask)
    return seen


def test_a_batch_in_the_model_is_told_from_those_beside_it(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    first, second = pool.serving
    second.fates[1, 1] = Fate(fate=ALIVE)
    first.kill(CRASHED)
    eventually(lambda: first not in pool.serving and is_whole(pool, 2))
    told = pool.master.fate(first.endpoint, 3, 4)
    assert (told.fate, told.cause, told.fact) == (IN_MODEL, CRASH, "its worker was ended by SIGSEGV")
    assert pool.master.fate(first.endpoint, 3, 5).fate == WAITING
    assert pool.master.fate(second.endpoint, 1, 1).fate == ALIVE
    assert pool.master.fate(("elsewhere", 1), 1, 1).fate == UNKNOWN


def test_a_worker_that_is_counted_out_while_it_is_asked_for_is_known_still(
    pool: RunningPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.deploy(models.FactorModel(2), workers=1)
    (member,) = pool.serving
    crew = pool.master._core.crew
    find = crew.at

    def find_later(endpoint: tuple[str, int]) -> object:
        before = find(endpoint)
        member.kill(CRASHED)
        eventually(lambda: before not in crew.all())
        return find(endpoint)

    monkeypatch.setattr(crew, "at", find_later)
    assert pool.master.fate(member.endpoint, 3, 4).fate == IN_MODEL


def test_who_asks_about_a_worker_that_the_pool_ends_hears_that_nobody_is_to_blame(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    leaving = pool.serving[1]
    pool.deploy(models.FactorModel(2), workers=1)
    eventually(lambda: leaving.is_closed)
    eventually(lambda: pool.master.fate(leaving.endpoint, 1, 1).fate == WAITING)


def test_verdicts_are_published_and_outlive_the_master(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=1)
    for number in range(102):
        pool.master.condemn(verdict(key=str(number)))
    pool.master.condemn(verdict(key="101"))
    pool.master.condemn(verdict(version=9))
    keys = [one.key for one in pool.directory.condemned]
    assert keys == [str(number) for number in range(2, 102)]
    assert [one.key for one in pool.serving[0].published[-1].condemned] == keys
    pool.next_master()
    assert [one.key for one in pool.directory.condemned] == keys


@pytest.mark.parametrize("wrong", [{"fact": "x" * 501}, {"key": "x" * 65}, {"rows": -1}, {"bytes": 1 << 63}])
def test_no_caller_makes_the_directory_too_long_for_the_others(pool: RunningPool, wrong: dict[str, object]) -> None:
    """Nobody reads a greeting of more than a megabyte."""
    pool.deploy(models.FactorModel(2), workers=1)
    client = pool.client()
    assert pool.door is not None
    with RawClient(pool.door.endpoint) as caller:
        caller.hello(TOKEN)
        caller.request(p.CONDEMN, 0, p.to_json(verdict().to_dict()))
        assert len(caller.info()["condemned"]) == 1
        caller.request(p.CONDEMN, 0, p.to_json(verdict(key="other").to_dict() | wrong))
        assert caller.condition() == "PROTOCOL_ERROR"
    assert [one.key for one in pool.directory.condemned] == ["k"]
    assert score(client, [1.0]) == [2.0]


def test_verdicts_go_after_an_hour_and_with_their_version(make_pool: MakePool) -> None:
    now = Clock(1000.0)
    pool = make_pool(now=now, by_hand=True)
    pool.deploy(models.FactorModel(2), workers=1)
    pool.master.condemn(verdict(key="early"))
    now.now += 1800.0
    pool.master.condemn(verdict(key="late"))
    now.now += 1801.0
    pool.master.tend()
    assert [one.key for one in pool.directory.condemned] == ["late"]
    assert pool.master._core.condemned.forget([2])
    assert pool.master._core.condemned.all == ()


def test_callers_are_sent_to_nobody_who_is_silent(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    first, second = pool.serving
    first.state = SILENT
    eventually(lambda: pool.directory.endpoints == (second.endpoint,))
    assert pool.directory.state == "healing"
    assert {worker["state"] for worker in pool.master.stats()["workers"]} == {READY, SILENT}
    assert score(pool.client(), [1.0]) == [2.0]
    first.state = READY
    eventually(lambda: is_whole(pool, 2))
    assert pool.master.restarts == 0


def test_a_lost_worker_is_replaced_elsewhere_and_ended_when_it_is_found(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    first, second = pool.serving
    first.state = LOST
    eventually(lambda: first not in pool.serving and is_whole(pool, 2))
    assert first.slot not in [member.slot for member in pool.serving]
    assert first.slot not in pool.house.slots, "what is reserved there is of no use"
    assert not first.is_closed
    assert pool.master.fate(first.endpoint, 1, 1).fate == WAITING
    first.state = READY
    eventually(lambda: first.is_closed)
    assert is_whole(pool, 2)
    assert second in pool.serving


def test_a_lost_worker_that_ends_with_its_host_is_forgotten(pool: RunningPool) -> None:
    """Nobody is there to say how it ended; else those of all hosts that ever went would be kept."""
    pool.deploy(models.FactorModel(2), workers=2)
    first, crew = pool.serving[0], pool.master._core.crew
    first.state = LOST
    eventually(lambda: first not in pool.serving and is_whole(pool, 2))
    assert [member.endpoint for member in crew.lost] == [first.endpoint]
    first.kill()
    eventually(lambda: crew.lost == [], seconds=30)
    assert is_whole(pool, 2)


def test_who_kills_workers_of_use_does_not_slow_their_replacement(
    pool: RunningPool, asked: list[tuple[object, str]]
) -> None:
    """Ten of them within a second; each had scored, or had served for a while, or was killed by somebody."""
    pool.deploy(models.FactorModel(2), workers=2)
    for number in range(10):
        victim = pool.serving[0]
        victim.kill([End(cause=CRASH, batches=1), End(cause=CRASH, lived_s=11.0), End(cause=KILLED)][number % 3])
        eventually(lambda: is_whole(pool, 2) and victim not in pool.serving)  # noqa: B023
    assert asked == []
    assert pool.master.restarts == 10


def test_each_slot_and_cause_has_a_budget_of_its_own(pool: RunningPool, asked: list[tuple[object, str]]) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    first, second = pool.serving
    second.kill(End(cause=CRASH))
    eventually(lambda: is_whole(pool, 2) and second not in pool.serving)
    first.kill(End(cause="oom"))
    eventually(lambda: is_whole(pool, 2) and first not in pool.serving)
    assert asked == [(second.slot, CRASH), (first.slot, "oom")]


def test_a_crash_loop_pauses_more_and_more_and_never_for_good(make_pool: MakePool) -> None:
    clock = Clock()
    pool = make_pool(clock=clock, by_hand=True)
    pool.deploy(models.FactorModel(2), workers=1)
    healer, pauses = pool.master._healer, []
    for _ in range(12):
        pauses.append(healer._budget_of(1, "slot", CRASH).take())
    assert pauses == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert healer._budget_of(1, "other", CRASH).take() == 0
    assert healer._budget_of(1, "slot", "oom").take() == 0
    clock.now += 61.0
    assert healer._budget_of(1, "slot", CRASH).take() == 0


def test_it_is_told_why_a_replacement_does_not_start_and_since_when(make_pool: MakePool) -> None:
    pool = make_pool(now=Clock(1000.0), budget=RestartBudget(burst=1000))
    pool.deploy(models.FactorModel(2), workers=2)
    assert pool.master.stats()["last_error"] is None

    def refuse(version: int) -> None:
        raise OSError("no disk")

    pool.house.starts = refuse
    pool.serving[0].kill(CRASHED)
    eventually(lambda: pool.master.stats()["restart_attempts"] > 1)
    stats = pool.master.stats()
    assert (stats["state"], stats["restart_error"], stats["restart_since"]) == ("healing", "no disk", 1000.0)
    assert stats["last_error"] == {"time": 1000.0, "message": "no disk", "details": ""}
    assert (stats["last_end"]["cause"], stats["last_end"]["pid"]) == (CRASH, 7)
    pool.house.starts = lambda version: None
    eventually(lambda: is_whole(pool, 2))
    stats = pool.master.stats()
    assert (stats["restart_error"], stats["restart_since"], stats["restart_attempts"]) == (None, None, 0)
    assert stats["last_error"] is None
    assert sorted(str(worker["last_end"] and worker["last_end"]["cause"]) for worker in stats["workers"]) == [
        "None",
        CRASH,
    ]


def test_what_a_dead_worker_has_done_is_counted_to_the_last_batch(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=1)
    (victim,) = pool.serving
    assert score(pool.client(), [1.0, 2.0]) == [2.0, 4.0]
    assert pool.master.stats()["rows"] == 2
    victim.kill(End(cause=CRASH, rows=5, batches=3, errors=1))  # some since then
    eventually(lambda: is_whole(pool, 1) and victim not in pool.serving)
    stats = pool.master.stats()
    assert (stats["rows"], stats["batches"], stats["errors"]) == (5, 3, 1)


def test_one_that_does_not_answer_keeps_nobody_from_being_replaced(
    pool: RunningPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    first, second = pool.serving
    released = threading.Event()

    def slow() -> dict[str, object]:
        released.wait(60)
        return {}

    monkeypatch.setattr(second, "stats", slow)
    monkeypatch.setattr(second, "leases", slow)
    time.sleep(1.5)  # the pool looks after itself, and asks it
    began = time.monotonic()
    first.kill(CRASHED)
    eventually(lambda: is_whole(pool, 2) and first not in pool.serving)
    assert time.monotonic() - began < 30
    released.set()
