# SPDX-License-Identifier: Apache-2.0
"""Changes by several clients: each is whole, and the pool is what the log of them says."""

from __future__ import annotations

import dataclasses
import pathlib
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.errors import (
    ControlTimeoutError,
    InvalidOptionError,
    NoPreviousVersionError,
    PoolGoneError,
    PoolNotPlacedError,
    RevisionChangedError,
    SparkModelError,
    VersionRetiredError,
)
from sparkmodel.pool.intents import Intent
from tests import models
from tests.unit.pool.test_master_healing import run
from tests.unit.pool.test_master_update import gated
from tests.unit.pool.toys import Clock, RunningPool, eventually, spec_of

MakePool = Callable[..., RunningPool]
pytestmark = pytest.mark.usefixtures("short_grace")


def test_two_hundred_changes_of_two_clients_come_out_as_the_log_says(pool: RunningPool) -> None:
    """Each client changes other things; whoever reads a spec and writes it back would lose the other's changes."""
    pool.deploy(models.FactorModel(0), workers=1)
    log: list[tuple[int, dict[str, Any]]] = []
    lock = threading.Lock()
    failures: list[BaseException] = []

    def change(seed: int, mine: str, other: str) -> None:
        dice = random.Random(seed)
        try:
            for number in range(100):
                kind = dice.choices(["options", "size", "source"], [6, 3, 1])[0]
                if kind == "options":
                    wish: dict[str, Any] = {mine: float(number + 1)} if dice.random() < 0.8 else {other: 9.0 + number}
                    applied = pool.change("options", options=wish)
                elif kind == "size":
                    wish = {"workers": dice.randint(1, 3)}
                    applied = pool.change("size", **wish)
                else:
                    wish = {"factor": 1000 * seed + number}
                    applied = pool.update(models.FactorModel(wish["factor"]))
                with lock:
                    log.append((applied.revision, wish))
        except BaseException as error:
            failures.append(error)

    clients = [
        threading.Thread(target=change, args=(1, "timeout_s", "ready_timeout_s")),
        threading.Thread(target=change, args=(2, "ready_timeout_s", "timeout_s")),
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join(300)
    assert failures == []
    log.append((pool.change("options", options={"max_queued": 50}).revision, {"max_queued": 50}))
    log.append((pool.change("size", workers=2).revision, {"workers": 2}))
    assert len(log) == len({revision for revision, _ in log}) == 202
    end: dict[str, Any] = {}
    for _, wish in sorted(log, key=lambda entry: entry[0]):
        end.update(wish)
    options = pool.master.current.spec.options
    assert {key: getattr(options, key) for key in end if key != "factor"} == {
        key: value for key, value in end.items() if key != "factor"
    }
    assert pool.score("q", 1.0) == end["factor"]
    eventually(lambda: len(pool.house.alive) == end["workers"] == len(pool.serving))
    assert len(pool.house.slots) == end["workers"]
    assert pool.directory.limits is not None
    assert pool.directory.limits.timeout_s == end["timeout_s"]


def test_limits_are_pushed_and_nobody_reloads(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    before, revision = list(pool.house.members), pool.directory.revision
    applied = pool.change("options", options={"timeout_s": 7.0, "max_queued": 3}, by="ada")
    assert (applied.version, pool.directory.version, pool.house.members) == (1, 1, before)
    assert applied.revision == pool.directory.revision > revision
    assert [member.worker.spec.options.timeout_s for member in before] == [7.0, 7.0]
    assert pool.directory.limits is not None
    assert pool.directory.limits.timeout_s == 7.0
    before[0].kill()
    eventually(lambda: len(pool.house.alive) == 2)
    assert pool.house.alive[-1].worker.spec.options.max_queued == 3


def test_limits_that_change_while_a_worker_loads_reach_it_too(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    pool.deploy(gated(gate, 2), workers=1)
    gate.unlink()
    pool.serving[0].kill()
    eventually(lambda: len(pool.house.members) == 2)
    pool.change("options", options={"timeout_s": 7.0})
    gate.touch()
    eventually(lambda: pool.directory.state == "ready")
    assert pool.serving[0].worker.spec.options.timeout_s == 7.0


def test_params_are_a_new_version_of_the_same_model(pool: RunningPool) -> None:
    pool.deploy(lambda data, add=0: data["x"] + add)
    applied = pool.change("options", fields={"params": {"add": 40}})
    assert applied.version == 2
    assert pool.score("q", 2.0) == 42.0
    assert len(pool.house.shipped) == 1


def test_a_comment_is_no_new_version(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2))
    assert pool.change("options", fields={"comment": "by ada"}).version == 1
    assert pool.master.current.spec.comment == "by ada"
    assert len(pool.house.members) == 1


@pytest.mark.parametrize(
    "wish",
    [{"options": {"workrs": 2}}, {"options": {"tls": True}}, {"fields": {"name": "b"}}, {"options": {"workers": 0}}],
)
def test_what_cannot_be_changed_changes_nothing(pool: RunningPool, wish: dict[str, Any]) -> None:
    pool.deploy(models.FactorModel(2))
    directory = pool.directory
    with pytest.raises(InvalidOptionError):
        pool.change("options", **wish)
    assert pool.directory == directory


def test_the_same_intent_again_is_what_it_led_to(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2))
    intent = Intent(kind="size", workers=3)
    assert pool.master.outcome(intent.id) is None
    first = pool.master.apply(intent)
    pool.change("size", workers=2)
    assert pool.master.apply(intent) == pool.master.outcome(intent.id) == first
    assert len(pool.serving) == 2
    pool.next_master()
    again = pool.master.apply(intent)
    assert again.version == first.version
    assert len(pool.serving) == 2


def test_a_change_for_what_was_is_refused_if_it_was_changed(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    seen = pool.directory.revision
    pool.serving[0].kill()
    eventually(lambda: pool.directory.revision > seen and pool.directory.state == "ready")
    pool.change("size", workers=3, expect=seen)  # a worker that was replaced is no change
    with pytest.raises(RevisionChangedError):
        pool.change("size", workers=1, expect=seen)
    assert len(pool.serving) == 3
    pool.change("size", workers=1, expect=pool.directory.revision)


def test_what_comes_too_late_is_not_done(make_pool: MakePool, tmp_path: pathlib.Path) -> None:
    now = Clock(1000.0)
    pool = make_pool(now=now)
    pool.deploy(models.FactorModel(2))
    with pytest.raises(ControlTimeoutError):
        pool.change("size", workers=2, not_after=999.0)
    gate = tmp_path / "gate"
    update = run(lambda: pool.update(gated(gate, 3), not_after=1100.0))
    eventually(lambda: len(pool.house.members) == 2)
    waiting = Intent(kind="size", workers=2, not_after=1050.0)
    scale = run(lambda: pool.master.apply(waiting))
    now.now = 1060.0
    with pytest.raises(ControlTimeoutError):
        scale.result(120)
    assert pool.master.outcome(waiting.id) is None
    now.now = 1101.0
    gate.touch()
    with pytest.raises(ControlTimeoutError):
        update.result(120)
    assert [member.version for member in pool.house.alive] == [1]
    assert pool.master.versions()[-1]["state"] == "failed"


def test_who_gave_up_leaves_nothing(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    pool.deploy(models.FactorModel(2))
    slots = list(pool.house.slots)
    intent = Intent(kind="replace", spec=spec_of(gated(tmp_path / "gate", 3), num_cpus=0.5)[0])
    payload = spec_of(gated(tmp_path / "gate", 3))[1]
    update = run(lambda: pool.master.apply(intent, payload))
    eventually(lambda: len(pool.house.members) == 2)
    pool.master.cancel(intent.id)
    with pytest.raises(ControlTimeoutError):
        update.result(120)
    (tmp_path / "gate").touch()
    assert pool.house.slots == slots
    assert pool.score("q") == 2
    assert len(pool.house.shipped) == 1
    pool.change("size", workers=2)
    assert len(pool.serving) == 2


def test_a_drop_ends_what_loads_and_what_waits(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    pool.deploy(models.FactorModel(2))
    update = run(lambda: pool.update(gated(tmp_path / "gate", 3)))
    eventually(lambda: len(pool.house.members) == 2)
    waiting = run(lambda: pool.change("size", workers=2))
    pool.master.stop()
    for change in (update, waiting):
        with pytest.raises(PoolGoneError):
            change.result(120)
    (tmp_path / "gate").touch()
    assert pool.house.slots == []
    assert pool.house.shipped == {}
    assert pool.house.alive == []


@pytest.mark.parametrize("kind", ["size", "source"])
@pytest.mark.fault("F17")
def test_a_record_that_cannot_be_written_is_a_change_that_is_not_done(pool: RunningPool, kind: str) -> None:
    pool.deploy(models.FactorModel(2))
    store = pool.master._store
    save, calls = store.save, []

    def fail(record: bytes) -> None:
        calls.append(record)
        save(record)
        if len(calls) == (1 if kind == "size" else 2):  # the first one of a new version only takes a number
            raise ConnectionError("it is written, but the answer was lost")

    store.save = fail  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        pool.change("size", workers=2) if kind == "size" else pool.update(models.FactorModel(3))
    store.save = save  # type: ignore[method-assign]
    for _ in range(2):
        assert pool.directory.version == 1
        assert pool.master.current.spec.options.workers == 1
        assert [member.version for member in pool.house.alive] == [1]
        assert pool.next_master()


def test_a_version_that_comes_back_takes_the_limits_of_now(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2))
    (first,) = pool.serving
    assert pool.score("q") == 2
    pool.update(models.FactorModel(3))
    pool.change("options", options={"timeout_s": 7.0})
    pool.rollback()
    assert pool.serving == [first]
    assert first.worker.spec.options.timeout_s == 7.0


def test_scaling_touches_no_other_worker(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    before = list(pool.serving)
    pool.change("size", workers=4)
    assert set(before) < set(pool.serving)
    assert len(pool.serving) == 4
    pool.change("size", workers=1)
    assert pool.serving == before[:1]
    eventually(lambda: len(pool.house.slots) == 1)
    assert sum(member.is_closed for member in pool.house.members) == 3
    assert pool.master.restarts == 0


def test_a_size_for_which_there_is_no_room_leaves_the_one_of_before(make_pool: MakePool) -> None:
    pool = make_pool(room=2)
    pool.deploy(models.FactorModel(2), workers=2)
    before = list(pool.serving)
    with pytest.raises(PoolNotPlacedError):
        pool.change("size", workers=5)
    assert pool.serving == before
    assert pool.master.current.spec.options.workers == 2
    assert pool.directory.state == "ready"


def test_a_size_survives_an_update_and_a_rollback(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=1)
    pool.update(models.FactorModel(3))
    pool.change("size", workers=3)
    pool.update(models.FactorModel(4))
    assert len(pool.serving) == 3
    assert pool.rollback(to=1) == 1
    assert len(pool.serving) == 3
    with pytest.raises(VersionRetiredError, match="version 9 is not known"):
        pool.rollback(to=9)


def test_what_is_refused_by_name(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2))
    with pytest.raises(NoPreviousVersionError):
        pool.change("rollback")
    with pytest.raises(InvalidOptionError, match="none is on trial"):
        pool.change("promote")


def test_a_gpu_is_not_shared_and_stop_first_takes_it_over(make_pool: MakePool) -> None:
    pool = make_pool(room=2)
    pool.deploy(models.FactorModel(2), workers=2, num_gpus=1)
    with pytest.raises(PoolNotPlacedError):
        pool.update(models.FactorModel(3))
    slots, old = list(pool.house.slots), list(pool.serving)
    assert pool.update(models.FactorModel(3), stop_first=True).version == 3
    assert pool.house.slots == slots
    assert all(member.is_closed for member in old)
    assert pool.score("q") == 3


def test_a_stop_first_that_fails_brings_the_old_version_back_to_its_slots(make_pool: MakePool) -> None:
    pool = make_pool(room=2)
    pool.deploy(models.FactorModel(2), workers=2, num_gpus=1)
    slots = list(pool.house.slots)
    with pytest.raises(SparkModelError, match="weights are missing"):
        pool.update(models.BrokenModel(), stop_first=True)
    eventually(lambda: len(pool.serving) == 2 and pool.directory.state == "ready")
    assert set(pool.house.slots) == set(slots)
    assert pool.score("q") == 2
    assert pool.master.restarts == 0


def test_history_tells_who_did_what_and_counters_never_fall(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    for number in range(10):
        pool.score(f"q{number}")
    rows = lambda: [entry["rows"] for entry in pool.master.versions()]  # noqa: E731
    assert rows() == [10]
    pool.serving[0].kill()
    eventually(lambda: pool.directory.state == "ready" and len(pool.serving) == 2)
    assert rows() == [10]
    pool.update(models.FactorModel(3), by="ada")
    pool.score("new")
    with pytest.raises(SparkModelError):
        pool.update(models.BrokenModel(), by="bob")
    assert rows() == [10, 1, 0]
    pool.next_master()
    assert rows() == [10, 1, 0]
    first, second = pool.master.versions()[:2]
    assert (first["state"], second["state"], second["by"]) == ("old", "serving", "ada")
    assert first["until"] is not None
    assert second["until"] is None
    assert second["since"] >= first["since"]
    assert (second["weight"], second["workers"], second["error_rate"]) == (1.0, 2, 0.0)
    assert second["latency"]["p50_s"] > 0
    assert pool.master.stats()["rows"] == 11


def test_whole_specs_take_their_own_options(pool: RunningPool) -> None:
    """Who writes all of it gets all of it; who goes back to before gets what was before."""
    pool.deploy(models.FactorModel(2), workers=2, timeout_s=5.0)
    pool.deploy(models.FactorModel(3), workers=1, timeout_s=6.0)
    assert dataclasses.asdict(pool.master.current.spec.options)["timeout_s"] == 6.0
    assert len(pool.serving) == 1
    pool.rollback()
    assert pool.master.current.spec.options.timeout_s == 5.0
    assert len(pool.serving) == 2
