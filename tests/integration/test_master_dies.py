# SPDX-License-Identifier: Apache-2.0
"""The supervisor is killed, at every step of what it does: predictions go on, and its successor takes all over.

And, on the same Ray, pools that one supervisor has no room for.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from sparkmodel.cluster import claims, connection, line, pools, supervisors
from sparkmodel.cluster.pools import Pool
from sparkmodel.cluster.reservations import reserved
from sparkmodel.errors import (
    ControlTimeoutError,
    ModelLoadError,
    ModelNotFoundError,
    PoolGoneError,
    PoolNotPlacedError,
)
from sparkmodel.pool.intents import Intent
from tests.integration.scripts import wait_until
from tests.integration.supervised import (
    Callers,
    deploy,
    forks_in,
    has_ended,
    kill,
    own_supervisor,
    spec_of,
    supervisor,
    update,
    workers,
)
from tests.models import BrokenModel, FactorModel

CPUS = 16


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    is_ours = not connection.is_connected()
    if is_ours:
        connection.connect(num_cpus=CPUS, log_to_driver=False)
    yield
    if is_ours:
        connection.shutdown()


@dataclasses.dataclass
class Abandoned:
    """A pool whose supervisor will never come again, and the processes that wait for it.

    Attributes:
        pool: The pool.
        label: Its supervisor's.
        forks: Its workers, and what was ready to be one.
    """

    pool: Pool
    label: str
    forks: list[int]


@pytest.fixture(scope="module", autouse=True)
def abandoned(local_ray: None) -> Abandoned:
    """Made before all tests: its workers wait for half a minute."""
    scratch = connection.current().scratch
    assert scratch is not None
    with own_supervisor():
        pool = deploy(FactorModel(2.0), name="abandoned")
        ray.kill(pool._line.supervisor)
    return Abandoned(pool, pool._entry.supervisor, forks_in(scratch.path))


@pytest.fixture(scope="module")
def common(
    abandoned: Abandoned, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[pathlib.Path, tuple[str, Any]]]:
    """One supervisor for all tests that do not end it for good, and the directory that tells it where to die."""
    with pytest.MonkeyPatch.context() as patch, own_supervisor():
        steps = tmp_path_factory.mktemp("steps")
        patch.setenv("SPARKMODEL_CRASH_AT", str(steps))
        runtime = connection.current()
        made = supervisors.of(runtime, False)
        del runtime.supervisors[False]  # each test that wants it has it: see `dies_at`
        yield steps, made
        runtime.supervisors[False] = made


@pytest.fixture(autouse=True)
def dies_at(common: tuple[pathlib.Path, tuple[str, Any]]) -> Iterator[Callable[[str], None]]:
    """Pools are the common supervisor's; `dies_at(step)` has it die when it comes to that step next."""
    steps, made = common
    runtime = connection.current()
    runtime.supervisors[False] = made
    yield lambda step: (steps / step).touch()
    runtime.supervisors.pop(False, None)
    left = [path.name for path in steps.iterdir()]
    for name in left:
        (steps / name).unlink()
    assert left == [], "it did not come there"


@pytest.mark.fault("F3")
def test_predictions_go_on_and_the_next_supervisor_has_the_same_workers() -> None:
    pool = deploy(FactorModel(2.0))
    pids, revision = workers(pool), pool.handle().pool.directory.revision
    with Callers(pool, 2.0) as callers:
        for _ in range(3):
            before = supervisor(pool)
            kill(before)
            callers.more()
            assert workers(pool) == pids
            assert supervisor(pool) != before
            directory = pool.handle().pool.directory
            assert (directory.state, directory.version) == ("ready", 1)
            assert directory.revision > revision
            revision = directory.revision
        callers.more()
    assert (callers.errors, callers.wrong) == ([], [])
    assert pools.find("watched").stats()["version"] == 1
    pool.drop()


def test_what_it_could_do_its_successor_can() -> None:
    pool = deploy(FactorModel(2.0))
    assert update(pool, FactorModel(3.0)) == 2
    with Callers(pool, 2.0, 3.0, 5.0) as callers:
        kill(supervisor(pool))
        assert pool.change(Intent(kind="size", workers=3)).version == 2
        assert len(workers(pool)) == 3
        kill(supervisor(pool))
        assert update(pool, FactorModel(5.0)) == 3
        kill(supervisor(pool))
        pool.change(Intent(kind="rollback"))  # to what was shipped to a supervisor that died long ago
        assert pool.spec()[1] == 2
        killed = workers(pool)[0]
        kill(killed)
        wait_until(lambda: len(workers(pool)) == 3 and killed not in workers(pool))
        callers.more()
    assert (callers.errors, callers.wrong) == ([], [])
    pool.drop()
    assert reserved(pool._entry.supervisor) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", ["reserved", "started", "loaded", "recorded", "published"])
@pytest.mark.fault("F3")
def test_a_registration_is_done_though_it_is_killed_at(step: str, dies_at: Callable[[str], None]) -> None:
    dies_at(step)
    pool = deploy(FactorModel(2.0))
    with Callers(pool, 2.0) as callers:
        callers.more()
    assert (callers.errors, callers.wrong) == ([], [])
    assert len(workers(pool)) == 2
    pool.drop()
    assert reserved(pool._entry.supervisor) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", ["reserved", "started", "loaded", "recorded", "published", "draining", "retired", "scaling", "scaled"]
)
@pytest.mark.fault("F3")
def test_a_change_is_done_though_it_is_killed_at(step: str, dies_at: Callable[[str], None]) -> None:
    pool = deploy(FactorModel(2.0))
    old, incarnation = workers(pool), pool.handle().pool.directory.revision.incarnation
    dies_at(step)
    with Callers(pool, 2.0, 3.0) as callers:
        if step.startswith("scal"):
            pool.change(Intent(kind="size", workers=3))
            assert set(old) <= set(workers(pool))
        else:
            assert update(pool, FactorModel(3.0)) == pool.spec()[1] > 1
        callers.more()
        wait_until(lambda: pool.handle().pool.directory.revision.incarnation == incarnation + 1)
        callers.more()
    assert (callers.errors, callers.wrong) == ([], [])
    if not step.startswith("scal"):
        wait_until(lambda: len(workers(pool)) == 2 and not set(old) & set(workers(pool)))
        assert [entry["state"] for entry in pool.versions()][-1] == "serving"
    pool.drop()
    assert reserved(pool._entry.supervisor) == []


def test_one_that_is_stopped_is_told_in_time_and_does_nothing_later(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = deploy(FactorModel(2.0))
    pids, stopped = workers(pool), supervisor(pool)
    spec, payload = spec_of(FactorModel(3.0), workers=5)
    with Callers(pool, 2.0) as callers:
        with monkeypatch.context() as patch:
            patch.setattr(line, "CONTROL_S", 2.0)
            os.kill(stopped, signal.SIGSTOP)
            with pytest.raises(ControlTimeoutError):
                pool.change(Intent(kind="replace", spec=spec), payload)
        wait_until(lambda: supervisor(pool) != stopped)  # it is ended, and started again
        callers.more()
        assert workers(pool) == pids
        assert pool.spec()[0].options.workers == 2
    assert (callers.errors, callers.wrong) == ([], [])
    pool.drop()


def test_a_pool_whose_supervisor_has_ended_for_good_is_dropped_and_its_name_and_room_are_free() -> None:
    with own_supervisor():
        end_for_good()


def end_for_good() -> None:
    most = CPUS * 0.9
    pool = deploy(FactorModel(2.0), workers=1, num_cpus=most)
    ray.kill(pool._line.supervisor)  # as nothing but a person does
    with pytest.raises(PoolGoneError):
        pool.stats()
    again = deploy(FactorModel(3.0), workers=1, num_cpus=most)
    assert reserved(pool._entry.supervisor) == []
    with Callers(again, 3.0) as callers:
        callers.more()
    assert (callers.errors, callers.wrong) == ([], [])
    ray.kill(again._line.supervisor)
    again.drop()
    again.drop()
    assert reserved(again._entry.supervisor) == []
    with pytest.raises(ModelNotFoundError):
        pools.find("watched")
    third = deploy(FactorModel(5.0), workers=1, num_cpus=most)
    third.drop()


def test_what_cannot_be_loaded_or_placed_leaves_nothing_and_the_name_is_free() -> None:
    for error, source, options in (
        (ModelLoadError, BrokenModel(), {}),
        (PoolNotPlacedError, FactorModel(2.0), {"num_cpus": CPUS * 2.0}),
    ):
        with pytest.raises(error):
            deploy(source, **options)
        namespace = connection.current().namespace
        assert claims.find(namespace, "watched") is None
        assert reserved(connection.current().supervisors[False][0]) == []
    pool = deploy(FactorModel(2.0))
    pool.drop()


def test_a_registration_that_is_interrupted_leaves_nothing() -> None:
    spec, payload = spec_of(FactorModel(2.0), workers=CPUS, num_cpus=1.5)  # more than there is: it waits for room
    told = threading.Event()

    def interrupt(status: dict[str, Any]) -> None:
        told.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pools.deploy(spec, payload, interrupt)
    assert told.is_set()
    assert reserved(connection.current().supervisors[False][0]) == []
    pool = deploy(FactorModel(2.0), workers=1, num_cpus=CPUS * 0.9)
    pool.drop()


@pytest.mark.slow
def test_workers_end_when_nobody_comes_for_them(abandoned: Abandoned) -> None:
    assert len(abandoned.forks) >= 2, "they wait for the next"
    wait_until(lambda: all(has_ended(pid) for pid in abandoned.forks))
    abandoned.pool.drop()
    assert reserved(abandoned.label) == []


# a Ray that has no room for all pools


@pytest.mark.slow
def test_idle_pools_give_way_to_those_that_are_called_and_come_back() -> None:
    most = {"num_cpus": CPUS * 0.6, "workers": (0, 1)}
    made = {factor: deploy(FactorModel(factor), name=f"m{factor:.0f}", **most) for factor in (2.0, 3.0, 5.0)}
    for factor in (2.0, 3.0):
        with Callers(made[factor], factor, count=2) as callers:
            callers.more()
        assert (callers.errors, callers.wrong) == ([], [])
    with pytest.raises(PoolNotPlacedError):
        deploy(FactorModel(7.0), name="m7", num_cpus=CPUS * 1.5)
    for pool in made.values():
        pool.drop()
