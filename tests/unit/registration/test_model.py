# SPDX-License-Identifier: Apache-2.0
"""What a `Model` tells its pool, and what it shows of it."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

import sparkmodel as sm
from sparkmodel.cluster.pools import Pool
from sparkmodel.errors import InvalidOptionError
from sparkmodel.model import Model
from sparkmodel.wire.client import client_of
from sparkmodel.wire.directory import Directory, Revision, Served
from sparkmodel.wire.handle import Handle
from tests.models import DoubleModel
from tests.unit.registration.pools import Asked, X, pool_of


class Beside(Asked):
    """A pool with a canary."""

    def handle(self) -> Handle:
        served = (Served(version=1, weight=0.95), Served(version=2, weight=0.05), Served(version=0, weight=0.0))
        directory = Directory(revision=Revision(1, 4), version=1, served=served)
        handle = super().handle()
        return dataclasses.replace(handle, pool=dataclasses.replace(handle.pool, directory=directory))


def model_of(pool: Asked) -> Model:
    return Model(cast(Pool, pool))


def test_a_model_says_how_many_workers_it_has_and_whether_there_is_a_canary() -> None:
    plain = pool_of(X, workers=(0, 3))
    assert repr(model_of(plain)).endswith("-> ?, 0..3 workers)")
    assert "canary" not in repr(model_of(plain))
    assert "version 1, canary 2 with 0.05 of the queries, " in repr(model_of(Beside(plain.served)))


def test_each_change_is_an_intent() -> None:
    pool = pool_of(X)
    model = model_of(pool)
    assert model.scale(3) is model.scale((0, 3)) is model.promote() is model.rollback() is model.rollback(to=4) is model
    model.update(DoubleModel(), traffic=0.05, max_error_rate=0.1, keep_old=5, progress=False)
    told = [(intent.kind, intent.workers, intent.to, intent.traffic) for intent, _ in pool.changes]
    assert told == [
        ("size", 3, None, None),
        ("size", (0, 3), None, None),
        ("promote", None, None, None),
        ("rollback", None, None, None),
        ("rollback", None, 4, None),
        ("source", None, None, 0.05),
    ]
    assert (pool.last.max_error_rate, pool.last.keep_old) == (0.1, 5)
    assert all(intent.by and intent.spec is None for intent, _ in pool.changes)


def test_after_a_change_all_callers_of_this_process_know_what_serves_now() -> None:
    """A gateway in a notebook keeps a handle of before, and may have asked for nothing since."""
    pool = pool_of(X)
    model = model_of(pool)
    before = client_of(pool.handle())
    pool.revision = Revision(1, 4)
    model.promote()
    assert before.locator.directory.revision == pool.revision


def test_the_present_source_is_looked_at_as_the_pool_was_then() -> None:
    pool = pool_of(X, source="python:tests.models:DoubleModel")
    model_of(pool).update(progress=False)
    assert (pool.last.kind, pool.last.expect) == ("source", Revision(1, 3))


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda model: model.scale(0), r"Cannot scale model 'm': 0 is not .*Hint: a least of 0, as in \(0, 1\)"),
        (lambda model: model.scale((3, 1)), r"\(3, 1\) is not a whole number of at least 1, or a least"),
        (lambda model: model.scale("3"), "'3' is not a whole number"),
        (lambda model: model.rollback(to=0), "0 is no version's number"),
        (lambda model: model.rollback(to="x"), "'x' is no version's number"),
        (lambda model: model.update(DoubleModel(), keep_old="x"), "'x' is neither 'until_done' nor"),
        (lambda model: model.update(DoubleModel(), keep_old=10**400), "nor a number of seconds of at least 0, at most"),
        (lambda model: model.update(DoubleModel(), keep_old=True), "True is neither"),
        (lambda model: model.update(DoubleModel(), traffic=float("nan")), "nan is not a number from 0 to 1"),
        (lambda model: model.save_handle("/nowhere/m.handle", valid_s=0), "'valid_s': 0 is not a number of seconds"),
        (lambda model: model.save_handle("/nowhere/m.handle", valid_s=True), "'valid_s': True is not a number"),
        (lambda model: model.save_handle("/nowhere/m.handle", valid_s=1e300), "at most 3,153,600,000"),
        (lambda model: model.scale(10**9), "at most 100,000"),
        (lambda model: model.update(DoubleModel(), traffic=2), "2 is not a number from 0 to 1"),
    ],
)
def test_wrong_uses_are_told_before_the_pool_is(use: Any, says: str) -> None:
    pool = pool_of(X)
    with pytest.raises(InvalidOptionError, match=says) as caught:
        use(model_of(pool))
    assert isinstance(caught.value, sm.SparkModelError)
    assert pool.changes == []
