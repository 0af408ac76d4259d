# SPDX-License-Identifier: Apache-2.0
"""A master that is killed at any step, and the next one that takes over what it has left."""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

import pytest

from sparkmodel.pool.ends import End
from sparkmodel.pool.intents import Intent
from sparkmodel.wire.verdicts import KILLED
from tests import models
from tests.unit.pool.test_master_healing import run
from tests.unit.pool.test_master_update import gated
from tests.unit.pool.toys import Killed, RunningPool, Shipped, ThreadMember, eventually, spec_of

pytestmark = pytest.mark.usefixtures("short_grace")
MOVING = ("reserved", "started", "loaded", "recorded", "published")
DONE = ("recorded", "published", "draining", "retired", "scaled-recorded")


def perhaps_killed() -> contextlib.AbstractContextManager[None]:
    """For a step that comes in a thread of its own, or not at all: the change may be answered before it."""
    return contextlib.suppress(Killed)


def replacing(factor: float) -> tuple[Intent, Shipped]:
    spec, payload = spec_of(models.FactorModel(factor), workers=2)
    return Intent(kind="replace", spec=spec), payload


def check_whole(pool: RunningPool, workers: int) -> None:
    """The pool has what it should have and nothing else."""
    eventually(lambda: pool.directory.state == "ready" and len(pool.serving) == workers)
    eventually(lambda: len(pool.house.alive) == workers and len(pool.house.slots) == workers)
    assert {member.slot for member in pool.house.alive} == set(pool.house.slots)


@pytest.mark.parametrize("step", MOVING)
def test_the_first_deploy(pool: RunningPool, step: str) -> None:
    intent, payload = replacing(2)
    pool.die_at = step
    with pytest.raises(Killed):
        pool.master.apply(intent, payload)
    before = list(pool.house.alive)
    is_done = step in DONE
    assert pool.next_master() == is_done
    assert (pool.master.outcome(intent.id) is not None) == is_done
    if not is_done:
        assert (pool.house.alive, pool.house.slots) == ([], [])
        pool.master.apply(intent, payload)
        pool.supervise()
    else:
        assert pool.serving == before
        assert pool.directory.revision.incarnation == 2
    assert pool.score("q") == 2
    check_whole(pool, 2)


@pytest.mark.parametrize("step", MOVING)
@pytest.mark.fault("F3")
def test_an_update(pool: RunningPool, step: str) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    assert pool.score("running") == 2
    old, revision = list(pool.serving), pool.directory.revision
    intent, payload = replacing(3)
    pool.die_at = step
    with pytest.raises(Killed):
        pool.master.apply(intent, payload)
    new = [member for member in pool.house.alive if member not in old]
    assert pool.next_master()
    assert pool.directory.revision > revision
    is_done = step in DONE
    assert (pool.master.outcome(intent.id) is not None) == is_done
    assert pool.serving == (new if is_done else old)
    assert not any(member.is_closed for member in old)
    assert pool.score("running") == 2, "the next master does not know what a query was held to"
    assert pool.score("later") == (3 if is_done else 2)
    if not is_done:
        assert all(member.is_closed for member in new)
        assert pool.master.apply(intent, payload).version > 2, "a number was given twice"
        assert pool.score("last") == 3
    assert pool.score("running") == 2
    for member in old:
        forget_leases(member)
    check_whole(pool, 2)


def forget_leases(member: ThreadMember) -> None:
    """As if the queries that were held to it had been silent for long."""
    member.worker._leases._seen = dict.fromkeys(member.worker._leases._seen, -1e9)  # type: ignore[assignment]


@pytest.mark.parametrize("step", MOVING)
def test_an_update_that_needs_slots_of_its_own(pool: RunningPool, step: str) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    pool.die_at = step
    with pytest.raises(Killed):
        pool.change("options", options={"num_cpus": 0.5})
    assert pool.next_master()
    check_whole(pool, 2)
    assert {slot.bundle["CPU"] for slot in pool.house.slots} == {0.5 if step in DONE else 1.0}


@pytest.mark.parametrize("step", ["draining", "retired"])
def test_the_end_of_an_old_version(pool: RunningPool, step: str) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    pool.die_at = step
    with perhaps_killed():
        pool.update(models.FactorModel(3))
    eventually(lambda: pool._leash.is_cut)
    new = pool.of(2)
    assert pool.next_master()
    assert pool.serving == new
    assert pool.score("q") == 3
    check_whole(pool, 2)


@pytest.mark.parametrize("step", ["scaling", "scaled", "recorded", "published", "draining", "retired"])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.fault("F3")
def test_a_scaling(pool: RunningPool, step: str, workers: int) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    assert pool.score("running") == 2
    before = list(pool.serving)
    intent = Intent(kind="size", workers=workers)
    pool.die_at = step
    with perhaps_killed():
        pool.master.apply(intent)
    if step in ("draining", "retired"):
        if workers == 4:
            return  # nobody ends
        eventually(lambda: pool._leash.is_cut)
    assert pool.next_master()
    is_done = step in ("recorded", "published", "draining", "retired")
    assert (pool.master.outcome(intent.id) is not None) == is_done
    check_whole(pool, workers if is_done else 2)
    kept = before if workers == 4 or not is_done else before[:1]
    if (workers, step) == (1, "recorded"):
        assert set(pool.serving) < set(before)  # callers were sent to both
    else:
        assert set(kept) <= set(pool.serving), "workers that callers were sent to were ended"
    assert pool.score("running") == pool.score("later") == 2
    pool.master.apply(intent)
    check_whole(pool, workers)


@pytest.mark.parametrize("step", MOVING)
@pytest.mark.parametrize("kind", ["rollback", "promote", "drop"])
def test_another_version_that_is_known(pool: RunningPool, step: str, kind: str) -> None:
    """A rollback to a version without workers; a canary that is promoted, or dropped."""
    pool.deploy(models.FactorModel(2), workers=2)
    pool.update(models.FactorModel(3), traffic=None if kind == "rollback" else 0.0)
    if kind == "rollback":
        check_whole(pool, 2)
    known = set(pool.house.alive)
    intent = Intent(kind="promote" if kind == "promote" else "rollback")
    pool.die_at = step
    with perhaps_killed():
        pool.master.apply(intent)
    if pool.die_at:
        return  # no step of this change
    assert pool.next_master()
    is_done = step in DONE
    assert (pool.master.outcome(intent.id) is not None) == is_done
    goal = 2 if kind == "promote" else 1
    was = 2 if kind == "rollback" else 1
    assert pool.directory.version == (goal if is_done else was)
    if not is_done:
        assert not any(member.is_closed for member in known)
        pool.master.apply(intent)
    assert pool.directory.version == goal
    assert pool.score("q") == goal + 1
    check_whole(pool, 2)


@pytest.mark.fault("F3")
def test_masters_that_die_one_after_the_other(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    members, seen = list(pool.serving), [pool.directory.revision]
    for number in range(5):
        assert pool.score(f"q{number}") == 2
        assert pool.next_master()
        assert pool.serving == members
        assert all(member.worker.directory == pool.directory for member in members)
        seen.append(pool.directory.revision)
    assert seen == sorted(set(seen))
    assert [revision.incarnation for revision in seen] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("step", ["adopting", "adopted"])
def test_an_adoption(pool: RunningPool, step: str) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    assert pool.score("running") == 2
    pool.update(models.FactorModel(3))
    members = set(pool.house.alive)
    pool.die_at = step
    pool.next_master_dies()
    assert pool.next_master()
    assert pool.directory.revision.incarnation == 3
    assert set(pool.house.alive) == members
    assert (pool.score("running"), pool.score("later")) == (2, 3)


def test_a_worker_that_died_with_its_master_is_replaced(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    first, second = pool.serving
    pool.kill_master()
    first.kill()
    assert pool.next_master()
    check_whole(pool, 2)
    assert second in pool.serving


def test_a_worker_that_was_loading_is_not_adopted(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    pool.deploy(gated(gate, 2), workers=2)
    gate.unlink()
    pool.serving[0].kill()
    eventually(lambda: len(pool.house.members) == 3)
    assert pool.next_master()
    gate.touch()
    check_whole(pool, 2)
    assert pool.house.members[2].is_closed


def test_a_stop_first_is_healed_from_nothing(pool: RunningPool, tmp_path: pathlib.Path) -> None:
    pool.deploy(models.FactorModel(2), workers=2, num_gpus=1)
    update = run(lambda: pool.update(gated(tmp_path / "gate", 3), stop_first=True))
    eventually(lambda: len(pool.house.members) == 4)
    assert pool.next_master()
    (tmp_path / "gate").touch()
    with pytest.raises(Killed):
        update.result(120)
    check_whole(pool, 2)
    assert pool.score("q") == 2


def test_what_a_dead_master_does_has_no_say_in_who_is_kept(pool: RunningPool) -> None:
    """Directories of before do not replace those of the next master, in whichever order they come."""
    pool.deploy(models.FactorModel(2), workers=1)
    before = pool.directory
    assert pool.next_master()
    (member,) = pool.serving
    member.worker.publish(before)
    assert member.worker.directory == pool.directory


@pytest.mark.fault("F3")
def test_what_workers_did_that_died_is_counted_by_the_next_master_too(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), workers=1)
    for number in range(10):
        pool.score(f"q{number}")
    pool.master.stats()
    pool.serving[0].kill(End(cause=KILLED, rows=10, batches=10))
    eventually(lambda: pool.directory.state == "ready" and pool.master.restarts == 1)
    pool.next_master()
    stats = pool.master.stats()
    assert (stats["rows"], stats["batches"], stats["restarts"]) == (10, 10, 1)


def test_a_worker_that_says_nothing_takes_nothing_from_the_history(pool: RunningPool, monkeypatch: Any) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    for number in range(10):
        pool.score(f"q{number}")
    assert pool.master.versions()[0]["rows"] == 10
    monkeypatch.setattr(ThreadMember, "stats", lambda self: {})
    assert pool.master.versions()[0]["rows"] == 10
