# SPDX-License-Identifier: Apache-2.0
"""Workers that die, and what the master does about it, without Ray."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sparkmodel.errors import PoolNotReadyError
from sparkmodel.pool.budget import RestartBudget
from tests import models
from tests.unit.pool.test_master_update import Callers, gated
from tests.unit.pool.toys import Recorder, RunningPool, eventually, score

MakePool = Callable[..., RunningPool]


def is_whole(pool: RunningPool, workers: int) -> bool:
    return pool.directory.state == "ready" and len(pool.serving) == workers


def replacements() -> list[threading.Thread]:
    """The threads that replace workers now."""
    found = [thread for thread in threading.enumerate() if thread.name == "sparkmodel-replace"]
    eventually(lambda: all(thread.ident is not None for thread in found))  # one may be about to start
    return found


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


@pytest.mark.fault("F1")
def test_a_dead_worker_is_replaced_in_its_slot_and_no_call_fails(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    first, second = pool.serving
    with Callers(pool) as callers:
        first.kill()
        eventually(lambda: is_whole(pool, 2) and first not in pool.serving)
        callers.more(20)
    assert set(callers.seen) == {2.0}
    assert second in pool.serving
    assert {member.slot for member in pool.serving} == {first.slot, second.slot}
    assert pool.master.restarts == pool.master.stats()["restarts"] == 1
    assert len(pool.house.members) == 3


def test_the_directory_says_healing_until_the_replacement_serves(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    pool.deploy(gated(gate, 2), workers=2)
    first, second = pool.serving
    gate.unlink()
    first.kill()
    eventually(lambda: len(pool.house.members) == 3)
    assert (pool.directory.state, pool.directory.endpoints) == ("healing", (second.endpoint,))
    assert pool.directory.version == 1
    gate.touch()
    eventually(lambda: is_whole(pool, 2))
    assert [directory.state for directory in second.published] == ["ready", "healing", "ready"]
    revisions = [directory.revision for directory in second.published]
    assert revisions == sorted(set(revisions))


def test_calls_wait_while_all_workers_are_being_replaced(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    with Callers(pool) as callers:
        for member in list(pool.serving):
            member.kill()
        eventually(lambda: is_whole(pool, 2))
        callers.more(20)
    assert set(callers.seen) == {2.0}
    assert pool.master.restarts == 2


@pytest.mark.fault("F28")
def test_workers_that_die_again_and_again_cost_no_call(make_pool: MakePool) -> None:
    pool = make_pool(budget=RestartBudget(burst=1000))
    pool.deploy(models.FactorModel(2), workers=3, max_retries=100)
    with Callers(pool) as callers:
        for _ in range(15):
            eventually(lambda: is_whole(pool, 3))
            victim = pool.serving[0]
            victim.kill()
            callers.more(5)
            eventually(lambda: victim not in pool.serving)  # noqa: B023
        eventually(lambda: is_whole(pool, 3))
    assert set(callers.seen) == {2.0}
    assert pool.master.restarts == 15
    assert len(pool.house.slots) == 3


@pytest.mark.fault("F7")
def test_a_replacement_that_cannot_load_is_tried_again_with_growing_pauses(
    make_pool: MakePool, tmp_path: pathlib.Path
) -> None:
    budget, gate = Recorder(burst=2), tmp_path / "gate"
    gate.touch()
    pool = make_pool(budget=budget)
    pool.deploy(gated(gate, 2), workers=1)
    gate.write_text("refuse")
    pool.serving[0].kill()
    eventually(lambda: len(budget.pauses) >= 6)
    assert budget.pauses[:6] == [0, 0, 1, 2, 4, 8]
    assert (pool.directory.state, pool.directory.endpoints) == ("healing", ())
    gate.write_text("")
    eventually(lambda: is_whole(pool, 1))
    assert score(pool.client(), [1.0]) == [2.0]
    assert pool.master.restarts == 1  # one worker died; its replacements never lived
    assert all(member.is_closed for member in pool.house.members[1:-1])


@pytest.mark.fault("F28")
def test_the_master_waits_as_long_as_its_budget_says(make_pool: MakePool) -> None:
    """A pause of an hour: the replacement must not come before, and `stop` must not wait for it."""
    budget = RestartBudget(burst=1, max_pause_s=3600)
    while budget.take() < 3600:
        pass
    pool = make_pool(budget=budget)
    pool.deploy(models.FactorModel(2), workers=1)
    pool.serving[0].kill()
    eventually(lambda: replacements() != [])
    waiting = replacements()
    assert pool.directory.state == "healing"
    pool.master.stop()
    join(waiting)
    assert len(pool.house.members) == 1


def run(task: Callable[[], Any]) -> Any:
    """Start a call in a thread; `.result()` waits for it."""
    threads = ThreadPoolExecutor(max_workers=1)
    future = threads.submit(task)
    threads.shutdown(wait=False)
    return future


def test_an_old_worker_that_dies_during_an_update_costs_nothing(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    pool.deploy(models.FactorModel(2), workers=2)
    with Callers(pool) as callers:
        update = run(lambda: pool.deploy(gated(gate, 3), workers=2))
        eventually(lambda: len(pool.house.members) == 4)
        pool.serving[0].kill()
        eventually(lambda: is_whole(pool, 2) and len(pool.house.members) == 5)
        callers.more(10)
        gate.touch()
        assert update.result(120) == 2
        callers.more(10)
    assert callers.seen[-1] == 3.0
    assert is_whole(pool, 2)
    assert len(pool.house.alive) == 2
    assert {member.version for member in pool.house.alive} == {2}
    assert {member.slot for member in pool.serving} == set(pool.house.slots)


def test_a_replacement_of_the_old_version_that_comes_too_late_is_closed(
    pool: RunningPool, tmp_path: pathlib.Path, short_grace: None
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    pool.deploy(gated(gate, 2), workers=2)
    gate.unlink()
    pool.serving[0].kill()
    eventually(lambda: len(pool.house.members) == 3)
    late = pool.house.members[2]
    pool.deploy(models.FactorModel(3), workers=2)
    gate.touch()
    eventually(lambda: late.is_closed)
    assert is_whole(pool, 2)
    assert {member.version for member in pool.serving} == {2}
    assert late.endpoint not in pool.directory.endpoints


def test_a_new_worker_that_dies_while_it_loads_fails_the_update_only(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    pool.deploy(models.FactorModel(2), workers=2)
    directory = pool.directory
    with Callers(pool) as callers:
        update = run(lambda: pool.deploy(gated(gate, 3), workers=2))
        eventually(lambda: len(pool.house.members) == 4)
        pool.house.members[2].kill()
        with pytest.raises(PoolNotReadyError):
            update.result(120)
        gate.touch()  # what was closed while it loaded must not serve after all
        callers.more(10)
        eventually(lambda: all(member.loaded.is_set() for member in pool.house.members))
    assert set(callers.seen) == {2.0}
    assert pool.directory == directory
    assert len(pool.house.alive) == 2
    assert pool.master.restarts == 0


def test_a_new_worker_that_dies_right_after_the_update_is_replaced_by_its_own_version(
    pool: RunningPool, short_grace: None
) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    pool.deploy(models.FactorModel(3), workers=2)
    pool.serving[1].kill()
    eventually(lambda: is_whole(pool, 2) and len(pool.house.members) == 5)
    assert {member.version for member in pool.serving} == {2}
    assert score(pool.client(), [1.0]) == [3.0]


class Held(RestartBudget):
    """Lets the first replacement wait until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.released = threading.Event(), threading.Event()

    def take(self) -> float:
        if not self.asked.is_set():
            self.asked.set()
            assert self.released.wait(120)
        return 0.0


def test_a_replacement_from_before_an_update_and_a_rollback_is_not_started(
    make_pool: MakePool, short_grace: None
) -> None:
    budget = Held()
    pool = make_pool(budget=budget)
    pool.deploy(models.FactorModel(2), workers=2)
    pool.serving[0].kill()
    assert budget.asked.wait(120)
    pool.deploy(models.FactorModel(3), workers=2)
    pool.rollback()
    members = len(pool.house.members)
    waiting = replacements()
    budget.released.set()
    join(waiting)
    assert len(pool.house.members) == members
    assert len(pool.serving) == 2


def test_stop_while_a_worker_is_being_replaced_leaves_none(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    pool.deploy(gated(gate, 2), workers=2)
    gate.unlink()
    pool.serving[0].kill()
    eventually(lambda: len(pool.house.members) == 3)
    pool.master.stop()
    gate.touch()
    eventually(lambda: all(member.is_closed for member in pool.house.members[1:]))
    assert pool.house.alive == []
    assert pool.directory.endpoints == ()
    assert pool.house.slots == []


def test_stop_ends_replacements_that_are_tried_again_and_again(make_pool: MakePool, tmp_path: pathlib.Path) -> None:
    budget, gate = Recorder(), tmp_path / "gate"
    gate.touch()
    pool = make_pool(budget=budget)
    pool.deploy(gated(gate, 2), workers=1)
    gate.write_text("refuse")
    pool.serving[0].kill()
    eventually(lambda: len(budget.pauses) > 3)
    trying = replacements()
    assert trying
    pool.master.stop()
    join(trying)
    assert pool.house.alive == []


def fail_once(monkeypatch: pytest.MonkeyPatch, launcher: object, method: str) -> threading.Event:
    """Have the next call of a launcher's method fail; set when it has."""
    works, failed = getattr(launcher, method), threading.Event()

    def call(*arguments: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise ConnectionError("the cluster did not answer")
        return works(*arguments)

    monkeypatch.setattr(launcher, method, call)
    return failed


def test_the_supervisor_survives_a_launcher_that_fails_once(pool: RunningPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.deploy(models.FactorModel(2), workers=1)
    failed = fail_once(monkeypatch, pool.hands, "wait_dead")
    assert failed.wait(120)
    pool.serving[0].kill()
    eventually(lambda: is_whole(pool, 1))


@pytest.mark.usefixtures("quiet_threads")
def test_a_launcher_that_fails_once_to_start_a_replacement_is_asked_again(
    pool: RunningPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.deploy(models.FactorModel(2), workers=1)
    failed = fail_once(monkeypatch, pool.hands, "start")
    pool.serving[0].kill()
    assert failed.wait(120)
    eventually(lambda: is_whole(pool, 1), seconds=2)
