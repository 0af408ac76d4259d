# SPDX-License-Identifier: Apache-2.0
"""One version a query: agreed by all who ask, kept while it runs, known to the next master."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.errors import (
    InputsChangedError,
    ModelLoadError,
    PoolGoneError,
    PoolNotReadyError,
    VersionRetiredError,
    WrongVersionError,
)
from sparkmodel.pool.leases import Assignments
from sparkmodel.pool.worker_leases import Leases
from sparkmodel.schema import Column, Signature
from tests import models
from tests.unit.pool.test_master_healing import run
from tests.unit.pool.test_master_update import gated
from tests.unit.pool.toys import Clock, RunningPool, Serve, eventually

MakePool = Callable[..., RunningPool]
X = Signature(inputs=(Column(name="x", type=pa.float64()),))


def named(*names: str) -> Signature:
    return Signature(inputs=tuple(Column(name=name, type=pa.float64()) for name in names))


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def slow(make_pool: MakePool, short_grace: None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> RunningPool:
    """A pool whose time passes when it is told to, its workers' too; it is looked after by hand."""
    from sparkmodel.pool import worker

    monkeypatch.setattr(worker, "Leases", lambda: Leases(clock))
    return make_pool(by_hand=True, clock=clock, now=clock)


def pass_time(pool: RunningPool, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    pool.master.tend()


def ended(pool: RunningPool, version: int) -> bool:
    eventually(lambda: not pool.master._core.crew.ending)
    return not pool.of(version)


@pytest.mark.fault("F16")
def test_all_who_ask_agree_whatever_is_changed_meanwhile(pool: RunningPool, short_grace: None) -> None:
    pool.deploy(models.FactorModel(1))
    answers: dict[str, set[int]] = {f"q{number}": set() for number in range(40)}

    def ask(_: int) -> None:
        for query, versions in answers.items():
            versions.add(pool.master.pin(query, "", math.inf))

    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(ask, number) for number in range(24)]
        for factor in range(2, 6):
            pool.update(models.FactorModel(factor))
        for future in asking:
            future.result(120)
    assert {len(versions) for versions in answers.values()} == {1}
    for query, versions in answers.items():
        assert pool.score(query) == float(*versions)


def test_a_query_keeps_its_version_over_masters_and_updates(pool: RunningPool, short_grace: None) -> None:
    pool.deploy(models.FactorModel(1), workers=2)
    for factor in range(2, 6):
        assert pool.score(f"q{factor}") == factor - 1
        pool.update(models.FactorModel(factor))
        assert pool.next_master()
    assert [pool.score(f"q{factor}") for factor in range(2, 6)] == [1, 2, 3, 4]
    assert pool.score("new") == 5


def test_a_query_is_known_to_a_worker_before_it_is_answered(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(1), workers=2)
    pool.master.pin("q", "", math.inf)
    assert any("q" in member.leases() for member in pool.serving)


def test_the_old_version_stays_until_its_queries_are_idle(slow: RunningPool, clock: Clock) -> None:
    slow.deploy(models.FactorModel(2), workers=2)
    assert slow.score("q") == 2
    slow.update(models.FactorModel(3))
    for _ in range(5):
        pass_time(slow, clock, 9.0)
        assert slow.score("q") == 2
        served = slow.directory.of(1)
        assert served is not None
        assert (served.weight, len(served.endpoints)) == (0.0, 2)
    pass_time(slow, clock, 9.9)
    assert not ended(slow, 1)
    pass_time(slow, clock, 0.2)
    assert ended(slow, 1)
    assert slow.directory.of(1) is None
    assert slow.score("q") == 2, "it is started again for who still is held to it"
    assert len(slow.of(1)) == 1
    pass_time(slow, clock, 11.0)
    pass_time(slow, clock, 11.0)
    assert ended(slow, 1)
    assert len(slow.house.slots) == 2


def test_a_batch_that_waits_or_is_scored_is_activity(clock: Clock) -> None:
    leases = Leases(clock)
    with leases.active("q"):
        clock.now += 100.0
        assert leases.read() == {"q": 0.0}
    clock.now += 3.0
    leases.touch("r")
    assert leases.read() == {"q": 3.0, "r": 0.0}
    with leases.active(None):
        pass
    assert set(leases.read()) == {"q", "r"}


def test_an_old_version_is_kept_for_as_long_as_it_was_asked(slow: RunningPool, clock: Clock) -> None:
    slow.deploy(models.FactorModel(2))
    assert slow.score("q") == 2
    slow.update(models.FactorModel(3), keep_old=15.0)
    pass_time(slow, clock, 8.0)
    assert slow.score("q") == 2
    pass_time(slow, clock, 8.0)
    assert ended(slow, 1)
    with pytest.raises(VersionRetiredError, match="keep_old"):
        slow.score("q")
    assert slow.score("r") == 3


def test_new_inputs_are_refused_with_what_differs(slow: RunningPool) -> None:
    slow.deploy(models.FactorModel(2), signature=named("x"))
    with pytest.raises(InputsChangedError, match="input 'y' is new and required") as caught:
        slow.update(models.FactorModel(3), signature=named("x", "y"))
    assert "allow_new_inputs=True" in caught.value.hint
    assert slow.directory.version == 1


class Knows:
    """A model that has no signature and knows its columns."""

    def __init__(self, *names: str) -> None:
        self.feature_names_in_ = list(names)

    def predict(self, data: Any) -> Any:
        return data[self.feature_names_in_[0]]


def test_columns_that_only_the_loaded_model_knows_are_inputs_too(slow: RunningPool) -> None:
    slow.deploy(Knows("a", "b"))
    old = slow.master.current.described.digest
    with pytest.raises(InputsChangedError, match="input 'b' is gone; input 'c' is new and required"):
        slow.update(Knows("a", "c"))
    assert [member.version for member in slow.house.alive] == [1]
    slow.update(Knows("b", "a"))
    assert slow.master.pin("q", old, math.inf) == 3
    slow.update(Knows("a", "c"), allow_new_inputs=True)
    assert slow.master.pin("r", old, math.inf) == 3
    assert slow.master.pin("s", slow.master.current.described.digest, math.inf) == 4


def test_a_query_that_comes_while_its_version_is_looked_at_keeps_it(
    slow: RunningPool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.deploy(models.FactorModel(2))
    assert slow.score("q") == 2
    (member,) = slow.serving
    slow.update(models.FactorModel(3))
    clock.now += 20.0

    def leases() -> dict[str, float]:
        found = member.worker.leases()
        slow.master.pin("q", "", math.inf)  # after what was found was found
        return found

    monkeypatch.setattr(member, "leases", leases)
    slow.master.tend()
    assert not member.is_closed
    assert slow.directory.of(1) is not None


def test_other_order_is_right_for_all(slow: RunningPool) -> None:
    slow.deploy(models.FactorModel(2), signature=named("a", "b"))
    digest = slow.master.current.spec.digest
    slow.update(models.FactorModel(3), signature=named("b", "a"))
    assert slow.directory.served[0].takes(digest)
    assert slow.master.pin("q", digest, math.inf) == 2


def test_a_plan_of_before_stays_with_a_version_that_suits_it(slow: RunningPool, clock: Clock) -> None:
    slow.deploy(models.FactorModel(2), signature=X)
    old = slow.master.current.spec.digest
    wide = Signature(inputs=(*(X.inputs or ()), Column(name="y", type=pa.float64(), required=True)))
    slow.update(models.FactorModel(3), signature=wide, allow_new_inputs=True)
    new = slow.master.current.spec.digest
    assert slow.score("before", digest=old) == 2
    assert slow.master.pin("after", new, math.inf) == 2
    assert slow.master.pin("", old, math.inf) == 1
    pass_time(slow, clock, 11.0)
    assert ended(slow, 1)
    slow.next_master()
    assert slow.score("much later", digest=old) == 2, "it is started again on demand"
    with pytest.raises(VersionRetiredError, match="no version that can be started"):
        slow.score("q", digest="never heard of")
    slow.rollback()
    assert slow.master.pin("x", old, math.inf) == 1
    assert slow.master.pin("y", new, math.inf) == 2, "plans for the version that was rolled back need its inputs"


def test_a_rollback_does_not_take_plans_that_may_send_more(slow: RunningPool) -> None:
    slow.deploy(models.FactorModel(2), signature=X)
    optional = Signature(inputs=(*(X.inputs or ()), Column(name="y", type=pa.float64(), required=False)))
    slow.update(models.FactorModel(3), signature=optional)
    digests = [slow.master._core.record.generations[version].spec.digest for version in (1, 2)]
    assert slow.master.pin("p", digests[0], math.inf) == 2
    slow.rollback()
    assert slow.master.pin("q", digests[0], math.inf) == 1
    assert slow.master.pin("r", digests[1], math.inf) == 2  # it may have been planned with y


def test_a_version_that_is_too_old_is_not_known(slow: RunningPool, clock: Clock) -> None:
    slow.deploy(models.FactorModel(1))
    assert slow.score("q") == 1
    for factor in range(2, 6):
        slow.update(models.FactorModel(factor))
        pass_time(slow, clock, 11.0)
        assert ended(slow, factor - 1)
    slow.update(models.FactorModel(9))
    with pytest.raises(VersionRetiredError, match="version 1, which the query began with"):
        slow.score("q")
    assert set(slow.house.shipped) == {"shipped-4", "shipped-5", "shipped-6"}


def test_a_pin_to_a_worker_of_another_version_or_another_plan_is_refused(serve: Serve) -> None:
    worker, _ = serve(models.DoubleModel(), version=3, signature=X)
    schema = pa.schema([("x", pa.float64())])
    own = worker.spec.digest
    for options in ({"pin": 2}, {"digest": "other"}, {"pin": 2, "digest": own}):
        with pytest.raises(WrongVersionError):
            worker.open(schema, {"binding": "name", **options})
    for options in ({"pin": 3}, {"pin": None, "digest": own}, {"digest": ""}):
        worker.open(schema, {"binding": "name", **options})
    more = dataclasses.replace(worker.directory.served[0], accepts=("other",))
    revision = worker.directory.revision._replace(number=2)
    worker.publish(dataclasses.replace(worker.directory, revision=revision, served=(more,)))
    worker.open(schema, {"binding": "name", "digest": "other"})
    with pytest.raises(PoolGoneError):
        worker.pin("q", "", 1.0)


def test_batches_of_different_queries_may_be_joined(serve: Serve) -> None:
    worker, _ = serve(models.DoubleModel(), version=3, signature=X)
    schema = pa.schema([("x", pa.float64())])
    streams = [
        worker.open(schema, {"binding": "name", "query": query, "pin": pin, "digest": digest})[0]
        for query, pin, digest in (("a", 3, worker.spec.digest), ("b", None, None))
    ]
    assert streams[0].key == streams[1].key
    assert set(worker.leases()) == {"a", "b"}


def test_a_cold_pool_is_woken_once_by_all_who_call(slow: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    slow.deploy(gated(gate, 2), workers=(0, 3))
    assert len(slow.serving) == 1
    slow.master._tending._shrink(1, 0)
    slow.master._core.end_later(slow.master._core.crew.ending)
    eventually(lambda: slow.house.slots == [])
    slow.master._core.publish()
    assert slow.directory.state == "cold"
    gate.unlink()
    calls = [run(lambda number=number: slow.score(f"q{number}")) for number in range(5)]
    eventually(lambda: len(slow.house.members) == 2)
    gate.touch()
    assert [call.result(120) for call in calls] == [2.0] * 5
    assert len(slow.house.members) == 2
    assert slow.directory.state == "ready"


def test_a_cold_pool_that_cannot_load_says_why_and_stays_cold(slow: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    slow.deploy(gated(gate, 2), workers=(0, 3))
    core = slow.master._core
    core.end_later(slow.master._tending._shrink(1, 0))
    eventually(lambda: slow.house.slots == [])
    gate.write_text("refuse")
    for _ in range(2):
        with pytest.raises(ModelLoadError, match="weights are missing"):
            slow.score("q")
    assert slow.directory.state == "cold"
    slow.master.supervise(0.0)
    assert slow.house.slots == []
    gate.write_text("")
    assert slow.score("q") == 2


def test_who_cannot_wait_is_told(slow: RunningPool, clock: Clock, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    slow.deploy(gated(gate, 2), workers=1)
    gate.unlink()
    slow.serving[0].kill()
    slow.master.supervise(0.0)
    call = run(lambda: slow.master.pin("q", "", clock.now + 5.0))
    eventually(lambda: len(slow.house.members) == 2)
    clock.now += 6.0
    with pytest.raises(PoolNotReadyError, match="no worker of version 1 was ready in time"):
        call.result(120)
    gate.touch()


def test_who_waits_for_a_pool_that_is_dropped_is_told(slow: RunningPool, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    slow.deploy(gated(gate, 2), workers=1)
    gate.unlink()
    slow.serving[0].kill()
    slow.master.supervise(0.0)
    call = run(lambda: slow.master.pin("q", "", math.inf))
    eventually(lambda: len(slow.house.members) == 2)
    slow.master.stop()
    with pytest.raises(PoolGoneError):
        call.result(120)
    gate.touch()


def test_assignments_are_kept_for_a_day_and_ten_thousand(clock: Clock) -> None:
    assignments = Assignments(clock)
    for number in range(10_050):
        assignments.add(f"q{number}", number)
    assert len(assignments) == 10_000
    assert (assignments.of("q49"), assignments.of("q50")) == ((), (50,))
    clock.now += 86_401
    assignments.add("new", 1)
    assert len(assignments) == 1


def test_a_query_that_runs_at_a_swap_is_scored_by_one_version_over_the_wire(pool: RunningPool) -> None:
    """The client's own pins, by the master's door, while versions come and go."""
    pool.deploy(models.FactorModel(1), workers=2, signature=X)
    client = pool.client()
    stop, mixed, seen = threading.Event(), [], []

    def query(number: int) -> None:
        while not stop.is_set():
            handle = client.handle.calling(query=f"{number} {time.monotonic()}")
            batches = [pa.record_batch({"x": [1.0]}) for _ in range(10)]
            answers = {answer.to_pylist()[0] for answer in client.predict(batches, True, 60, caller=handle)}
            seen.append(answers)
            if len(answers) != 1:
                mixed.append(answers)

    queries = [run(lambda number=number: query(number)) for number in range(3)]
    for factor in range(2, 7):
        pool.update(models.FactorModel(factor), signature=X)
    stop.set()
    for running in queries:
        running.result(120)
    assert mixed == []
    assert len(set().union(*seen)) > 1
    client.close()
