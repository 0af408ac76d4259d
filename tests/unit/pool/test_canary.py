# SPDX-License-Identifier: Apache-2.0
"""A version on trial: a share of the queries, the same for equal queries, until it is promoted or rolled back."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyarrow as pa
import pytest

from sparkmodel.errors import InputsChangedError
from sparkmodel.schema import Column, Signature
from tests import models
from tests.unit.pool.toys import Clock, RunningPool, eventually

MakePool = Callable[..., RunningPool]


@pytest.fixture
def pool(make_pool: MakePool, short_grace: None) -> RunningPool:
    clock = Clock(1000.0)
    pool = make_pool(by_hand=True, clock=clock, now=clock)
    pool.deploy(models.FactorModel(2), workers=3)
    return pool


def test_it_gets_its_share_of_the_queries(pool: RunningPool) -> None:
    assert pool.update(models.FactorModel(3), traffic=0.1).version == 2
    given = [pool.master.pin(f"query:{number}", "", math.inf) for number in range(2000)]
    assert 150 <= given.count(2) <= 250
    assert given == [pool.master.pin(f"query:{number}", "", math.inf) for number in range(2000)]
    assert given == [pool.master._core.choose(f"query:{number}", "") for number in range(2000)]
    assert pool.master.pin("", "", math.inf) == 1
    assert [(served.version, served.weight) for served in pool.directory.served] == [(1, 0.9), (2, 0.1)]
    assert (pool.directory.version, pool.master.current.version) == (1, 1)
    assert (len(pool.of(1)), len(pool.of(2))) == (3, 1)
    assert len(pool.house.slots) == 3


def test_promoted_it_gets_all(pool: RunningPool) -> None:
    pool.update(models.FactorModel(3), traffic=0.1)
    canary = pool.of(2)
    assert pool.change("promote", by="ada").version == 2
    assert pool.score("new") == 3
    assert len(pool.of(2)) == 3
    assert set(canary) < set(pool.of(2))
    assert [entry["state"] for entry in pool.master.versions()] == ["old", "serving"]
    assert pool.rollback() == 1


def test_rolled_back_it_gets_none_but_those_that_began_with_it(pool: RunningPool) -> None:
    pool.update(models.FactorModel(3), traffic=1.0)
    assert pool.score("q") == 3
    assert pool.rollback() == 1
    assert pool.score("q") == 3
    assert pool.score("r") == 2
    assert [served.weight for served in pool.directory.served] == [1.0, 0.0]
    assert [entry["state"] for entry in pool.master.versions()] == ["serving", "rolled back"]


def test_it_outlives_the_master(pool: RunningPool) -> None:
    pool.update(models.FactorModel(3), traffic=0.5)
    given = [pool.master.pin(f"query:{number}", "", math.inf) for number in range(50)]
    pool.next_master()
    assert [served.weight for served in pool.directory.served] == [0.5, 0.5]
    assert [pool.master.pin(f"query:{number}", "", math.inf) for number in range(50)] == given
    pool.of(2)[0].kill()
    pool.master.supervise(1.0)
    eventually(lambda: pool.directory.state == "ready")
    assert len(pool.of(2)) == 2


@pytest.mark.parametrize(("errors", "rolls_back"), [(1, False), (2, False), (3, True)])
def test_one_that_fails_too_often_is_rolled_back_by_itself(pool: RunningPool, errors: int, rolls_back: bool) -> None:
    pool.update(models.FactorModel(3), traffic=0.1, max_error_rate=0.1)
    (canary,) = pool.of(2)
    canary.extra = {"batches": 16 - errors, "errors": errors}
    pool.master.tend()
    assert len(pool.directory.served) == 2, "it was judged by too few batches"
    canary.extra = {"batches": 20 - errors, "errors": errors}
    pool.master.tend()
    (entry,) = pool.master.versions()[1:]
    assert entry["state"] == ("rolled back" if rolls_back else "canary")
    assert entry["error_rate"] == errors / 20
    if rolls_back:
        assert entry["note"] == "3 of 20 batches failed, which is more than max_error_rate=0.1"
        assert pool.score("new") == 2


def test_both_are_counted_apart(pool: RunningPool) -> None:
    pool.update(models.FactorModel(3), traffic=0.5)
    scored = [pool.score(f"query:{number}") for number in range(100)]
    first, second = pool.master.versions()
    assert (first["rows"], second["rows"]) == (scored.count(2.0), scored.count(3.0))
    assert first["rows"] + second["rows"] == 100


def test_it_cannot_have_other_inputs(pool: RunningPool) -> None:
    pool.deploy(models.FactorModel(2), signature=Signature(inputs=(Column(name="x", type=pa.float64()),)))
    other = Signature(inputs=(Column(name="z", type=pa.float64()),))
    with pytest.raises(InputsChangedError, match="input 'x' is gone"):
        pool.update(models.FactorModel(3), signature=other, traffic=0.1, allow_new_inputs=True)


def test_limits_are_of_both_and_another_version_takes_its_place(pool: RunningPool) -> None:
    pool.update(models.FactorModel(3), traffic=0.1)
    pool.change("options", options={"timeout_s": 7.0})
    assert {member.worker.spec.options.timeout_s for member in pool.house.alive} == {7.0}
    pool.update(models.FactorModel(4), traffic=0.2)
    assert [served.version for served in pool.directory.served if served.weight] == [1, 3]
    pool.update(models.FactorModel(5))
    assert [(served.version, served.weight) for served in pool.directory.served if served.weight] == [(4, 1.0)]
    assert [entry["state"] for entry in pool.master.versions()] == ["old", "old", "old", "serving"]
