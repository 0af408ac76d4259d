# SPDX-License-Identifier: Apache-2.0
"""A pool on its way from version to version, without Ray."""

from __future__ import annotations

import gc
import itertools
import pathlib
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.errors import (
    ModelLoadError,
    NoPreviousVersionError,
    PoolGoneError,
    PoolNotPlacedError,
    PoolNotReadyError,
    SparkModelError,
)
from sparkmodel.pool.intents import Intent
from tests import models
from tests.unit.pool.toys import RunningPool, eventually, score, spec_of


class Callers:
    """Threads that call the pool without a pause and note the factor that each answer was made with."""

    def __init__(self, pool: RunningPool, count: int = 4) -> None:
        self.seen: list[float] = []
        self.begun: list[float] = []  # when each of those calls began
        self.failures: list[BaseException] = []
        self._done, self._lock = threading.Event(), threading.Lock()
        self._client = pool.client()
        self._threads = [threading.Thread(target=self._call, args=(i + 1.0,)) for i in range(count)]

    def _call(self, number: float) -> None:
        try:
            while not self._done.is_set():
                begun = time.monotonic()
                first, second = score(self._client, [number, 2 * number])
                assert second == 2 * first, "one batch was scored by two versions"
                with self._lock:
                    self.seen.append(first / number)
                    self.begun.append(begun)
        except BaseException as error:
            self.failures.append(error)

    def more(self, calls: int = 50) -> None:
        """Wait until that many calls more were answered, or one failed."""
        target = len(self.seen) + calls
        eventually(lambda: bool(self.failures) or len(self.seen) >= target)

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(120)
        self._client.close()
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.failures == []


def gated(path: pathlib.Path, factor: float) -> tuple[Any, Any]:
    """A model whose load waits until a file exists, and fails if `refuse` is written in it."""

    def load() -> float:
        while not path.exists():
            time.sleep(0.002)
        if "refuse" in path.read_text():
            raise RuntimeError("weights are missing")
        return factor

    return load, lambda model, data: data["x"] * model


def test_a_deploy_serves_from_all_workers_each_of_which_loaded_once(pool: RunningPool) -> None:
    assert pool.deploy(models.FactorModel(2), workers=3) == 1
    assert (pool.directory.state, pool.directory.version, len(set(pool.directory.endpoints))) == ("ready", 1, 3)
    client = pool.client()
    assert [score(client, [float(i)]) for i in range(30)] == [[2.0 * i] for i in range(30)]
    stats = pool.master.stats()
    assert (stats["name"], stats["version"], stats["state"], stats["restarts"]) == ("toy", 1, "ready", 0)
    assert (stats["loads"], stats["batches"], stats["rows"], stats["errors"]) == (3, 30, 30, 0)
    assert len(stats["workers"]) == 3
    assert pool.master.status() == {"phase": "ready", "ready": 0, "workers": 0}


def test_a_deploy_tells_how_far_it_is(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    deploying = threading.Thread(target=pool.deploy, args=(gated(gate, 2),), kwargs={"workers": 2})
    deploying.start()
    eventually(lambda: pool.master.status() == {"phase": "loading", "ready": 0, "workers": 2})
    gate.touch()
    deploying.join(120)
    assert pool.master.status()["phase"] == "ready"


def test_an_update_under_load_fails_no_call_and_ends_at_the_new_version(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    old = list(pool.house.members)
    with Callers(pool) as callers:
        assert pool.deploy(models.FactorModel(3), workers=2) == 2
        done = time.monotonic()
        callers.more(20)
    assert set(callers.seen) == {2.0, 3.0}
    assert {factor for begun, factor in zip(callers.begun, callers.seen, strict=True) if begun > done} == {3.0}
    assert all(member.is_closed for member in old)
    assert (pool.directory.version, pool.directory.state) == (2, "ready")
    assert {member.version for member in pool.serving} == {2}
    assert len(pool.house.slots) == 2  # the new workers took the old ones' places


def test_many_updates_under_load_fail_no_call(pool: RunningPool, short_grace: None) -> None:
    """Without the time of grace, callers find closed workers all the time."""
    pool.deploy(models.FactorModel(1), workers=2)
    with Callers(pool) as callers:
        for factor in range(2, 8):
            pool.deploy(models.FactorModel(factor), workers=2)
            callers.more(10)
        pool.rollback()
        callers.more(10)
    assert set(callers.seen) == {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0}
    assert callers.seen[-1] == 6.0


def test_a_client_that_knows_only_the_old_workers_finds_the_new_ones(pool: RunningPool, short_grace: None) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    stale = pool.client()
    assert score(stale, [1.0]) == [2.0]
    never_used = pool.client()
    pool.deploy(models.FactorModel(3), workers=2)
    assert score(stale, [1.0]) == [3.0]
    assert score(never_used, [1.0]) == [3.0]


def break_load(pool: RunningPool, home: pathlib.Path) -> None:
    pool.deploy(models.BrokenModel(), workers=2)


def break_placing(pool: RunningPool, home: pathlib.Path) -> None:
    pool.deploy(models.FactorModel(3), workers=pool.house.room + 1)


def break_time(pool: RunningPool, home: pathlib.Path) -> None:
    try:
        pool.deploy(gated(home / "gate", 3), workers=2, ready_timeout_s=0.05)
    finally:
        (home / "gate").touch()  # now they are loaded, but it is too late


Break = Callable[[RunningPool, pathlib.Path], None]


@pytest.mark.parametrize(
    ("broken", "error", "why"),
    [
        (break_load, ModelLoadError, "weights are missing"),
        (break_placing, PoolNotPlacedError, "Cannot place"),
        (break_time, PoolNotReadyError, "too slow"),
    ],
)
@pytest.mark.fault("F7")
def test_a_broken_update_changes_nothing(
    pool: RunningPool, tmp_path: pathlib.Path, broken: Break, error: type[SparkModelError], why: str
) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    directory, slots = pool.directory, list(pool.house.slots)
    with Callers(pool) as callers:
        with pytest.raises(error, match=why):
            broken(pool, tmp_path)
        callers.more(20)
    assert set(callers.seen) == {2.0}
    assert pool.directory == directory
    assert pool.house.slots == slots
    assert [member.is_dead for member in pool.house.members[:2]] == [False, False]
    assert all(member.is_closed for member in pool.house.members[2:])
    assert pool.master.current.version == 1
    with pytest.raises(NoPreviousVersionError):
        pool.rollback()
    assert pool.deploy(models.FactorModel(3), workers=2) == 3  # 2 was the number of what failed, and stays it
    assert score(pool.client(), [1.0]) == [3.0]


def test_a_failed_load_brings_the_models_own_traceback(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        break_load(pool, tmp_path)
    assert "_raise_on_load" in caught.value.details


def test_the_phase_is_ready_again_after_a_refused_placement(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    pool.deploy(models.FactorModel(2))
    with pytest.raises(PoolNotPlacedError):
        break_placing(pool, tmp_path)
    assert pool.master.status()["phase"] == "ready"


@pytest.mark.parametrize("broken", [break_load, break_placing, break_time])
@pytest.mark.fault("F7")
def test_a_first_deploy_that_fails_leaves_nothing(pool: RunningPool, tmp_path: pathlib.Path, broken: Break) -> None:
    with pytest.raises(SparkModelError):
        broken(pool, tmp_path)
    assert pool.house.slots == []
    assert all(member.is_closed for member in pool.house.members)
    assert pool.directory.endpoints == ()
    with pytest.raises(PoolNotReadyError, match="no version of it is loaded yet"):
        _ = pool.master.current


def test_rollback_goes_back_and_rollback_again_goes_forth(pool: RunningPool, short_grace: None) -> None:
    pool.deploy(models.FactorModel(2))
    pool.deploy(models.FactorModel(3))
    client = pool.client()
    for version, factor in ((1, 2.0), (2, 3.0), (1, 2.0)):
        assert pool.rollback() == version
        assert pool.directory.version == version
        assert score(client, [1.0]) == [factor]
    assert pool.deploy(models.FactorModel(5)) == 3  # a number is never given twice
    assert pool.rollback() == 1


def test_a_rollback_restores_the_options_too(pool: RunningPool, short_grace: None) -> None:
    pool.deploy(models.FactorModel(2), workers=3)
    pool.deploy(models.FactorModel(3), workers=1)
    assert (len(pool.directory.endpoints), len(pool.house.slots)) == (1, 1)
    pool.rollback()
    assert (len(pool.directory.endpoints), len(pool.house.slots)) == (3, 3)


def test_rollback_without_a_version_before_is_refused(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2))
    with pytest.raises(NoPreviousVersionError, match="version 1 is the first that this pool served") as caught:
        pool.rollback()
    assert caught.value.condition == "NO_PREVIOUS_VERSION"
    assert score(pool.client(), [1.0]) == [2.0]


def test_a_broken_rollback_leaves_the_current_version(
    pool: RunningPool, tmp_path: pathlib.Path, short_grace: None
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    pool.deploy(gated(gate, 2))
    pool.deploy(models.FactorModel(3))
    gate.write_text("refuse")
    with pytest.raises(ModelLoadError, match="weights are missing"):
        pool.rollback()
    assert score(pool.client(), [1.0]) == [3.0]
    gate.write_text("")
    assert pool.rollback() == 1


def test_a_shipped_model_is_forgotten_when_no_rollback_can_need_it(pool: RunningPool, short_grace: None) -> None:
    shipped = []
    for factor in range(5):
        spec, payload = spec_of(models.FactorModel(factor))
        pool.master.apply(Intent(kind="replace", spec=spec), payload)
        shipped.append(weakref.ref(payload))
        del payload

    def kept() -> list[bool]:
        gc.collect()
        return [reference() is not None for reference in shipped]

    eventually(lambda: kept() == [False, False, True, True, True])
    pool.rollback()
    eventually(lambda: kept() == [False, False, True, True, True])
    assert set(pool.house.shipped) == {"shipped-3", "shipped-4", "shipped-5"}


def test_other_resources_get_new_slots_and_the_old_ones_are_given_back(pool: RunningPool, short_grace: None) -> None:
    pool.deploy(models.FactorModel(2), workers=2, num_cpus=1)
    old = list(pool.house.slots)
    pool.deploy(models.FactorModel(3), workers=2, num_cpus=0.5)
    assert set(pool.house.slots).isdisjoint(old)
    assert [slot.bundle for slot in pool.house.slots] == [{"CPU": 0.5}] * 2
    assert {member.slot for member in pool.serving} == set(pool.house.slots)


def test_other_resources_that_have_no_room_beside_the_old_change_nothing(make_pool: Callable[..., RunningPool]) -> None:
    pool = make_pool(room=3)
    pool.deploy(models.FactorModel(2), workers=2, num_cpus=1)
    slots = list(pool.house.slots)
    with pytest.raises(PoolNotPlacedError):
        pool.deploy(models.FactorModel(3), workers=2, num_cpus=0.5)
    assert pool.house.slots == slots
    assert score(pool.client(), [1.0]) == [2.0]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 2)])
def test_the_same_resources_keep_their_slots(pool: RunningPool, short_grace: None, before: int, after: int) -> None:
    pool.deploy(models.FactorModel(2), workers=before)
    old = list(pool.house.slots)
    pool.deploy(models.FactorModel(3), workers=after)
    assert len(pool.house.slots) == len(pool.directory.endpoints) == after
    assert len(set(pool.house.slots) & set(old)) == min(before, after)
    assert {member.slot for member in pool.serving} == set(pool.house.slots)


def test_revisions_grow_strictly_and_the_old_workers_hear_of_the_new(pool: RunningPool, short_grace: None) -> None:
    for factor in range(4):
        pool.deploy(models.FactorModel(factor), workers=2)
    pool.rollback()
    final = pool.directory
    for number, member in enumerate(pool.house.members):
        revisions = [directory.revision for directory in member.published]
        assert revisions == sorted(set(revisions))
        if number < 8:  # a retired one
            assert member.published[-1].version != member.version
            assert member.endpoint not in member.published[-1].endpoints
        else:
            assert member.published[-1] == final
    versions = sorted({(d.revision, d.version) for m in pool.house.members for d in m.published})
    assert [version for version, _ in itertools.groupby(version for _, version in versions)] == [1, 2, 3, 4, 3]


def test_stop_closes_every_worker_and_gives_every_slot_back(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=3)
    revision = pool.directory.revision
    client = pool.client()
    assert score(client, [1.0]) == [2.0]
    pool.master.stop()
    assert all(member.is_closed for member in pool.house.members)
    assert pool.house.slots == []
    assert (pool.directory.state, pool.directory.endpoints) == ("stopped", ())
    assert pool.directory.revision > revision
    pool.thread.join(120)
    assert not pool.thread.is_alive()
    with pytest.raises(PoolGoneError, match="it was dropped"):
        score(client, [1.0])
    pool.master.stop()  # a second time does nothing


def test_stop_before_anything_was_deployed(pool: RunningPool) -> None:
    pool.master.stop()
    assert pool.directory.state == "stopped"


def test_a_stopped_pool_takes_no_new_version(pool: RunningPool, short_grace: None) -> None:
    pool.deploy(models.FactorModel(2))
    pool.master.stop()
    with pytest.raises(PoolGoneError):
        pool.deploy(models.FactorModel(3))
    assert pool.house.slots == []


def test_other_options_take_the_model_along_and_can_be_rolled_back(pool: RunningPool, short_grace: None) -> None:
    pool.deploy(models.FactorModel(3.0))
    assert pool.change("options", options={"num_cpus": 0.5, "timeout_s": 7.0}).version == 2
    assert score(pool.client(), [2.0]) == [6.0]
    assert [slot.bundle for slot in pool.house.slots] == [{"CPU": 0.5}]
    pool.rollback()
    assert [slot.bundle for slot in pool.house.slots] == [{"CPU": 1.0}]
    assert pool.master.current.spec.options.timeout_s == 7  # limits are the pool's, whatever it serves
    assert score(pool.client(), [2.0]) == [6.0]
