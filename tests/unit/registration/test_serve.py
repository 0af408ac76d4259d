# SPDX-License-Identifier: Apache-2.0
"""What a pool is told when it is to serve something else."""

from __future__ import annotations

import dataclasses
import pathlib
import pickle
from typing import Any, cast

import mlflow
import pytest

from sparkmodel.cluster.pools import Pool
from sparkmodel.errors import InputsChangedError, InvalidOptionError, RevisionChangedError
from sparkmodel.loaders import resolve
from sparkmodel.pool.intents import Applied
from sparkmodel.registration import serve
from sparkmodel.registration.plan import Planned
from sparkmodel.registration.rollout import Rollout
from sparkmodel.registration.settle import Asked as Source
from sparkmodel.wire.directory import Revision
from tests.integration.registered import line
from tests.models import DoubleModel
from tests.unit.registration.pools import Asked, X, pool_of


def move(pool: Asked, source: Any, **more: Any) -> Applied:
    return serve.move(cast(Pool, pool), lambda spec: Source(source=source), progress=False, **more)


def test_a_source_is_told_alone_and_what_is_shipped_goes_beside_it() -> None:
    pool = pool_of(X, workers=3, timeout_s=7.0)
    assert move(pool, DoubleModel()).version == 2
    ((intent, payload),) = pool.changes
    assert (intent.kind, intent.spec, intent.options, intent.workers) == ("source", None, {}, None)
    assert intent.source is not None
    assert (intent.source.payload, intent.source.directory) == (None, None)
    assert intent.source.requirements == {"local": ()}
    assert type(pickle.loads(payload)).__name__ == "DoubleModel"
    assert intent.expect is None, "whoever sends a source wants it whatever there was"


def test_a_rollout_is_told_with_it() -> None:
    pool = pool_of(X)
    move(pool, DoubleModel(), rollout=Rollout(traffic=0.2, max_error_rate=0.1, keep_old=5.0))
    intent = pool.last
    assert (intent.traffic, intent.max_error_rate, intent.keep_old) == (0.2, 0.1, 5.0)


def test_what_plans_would_get_wrong_is_refused_before_anything_is_shipped(tmp_path: pathlib.Path) -> None:
    pool = pool_of(dataclasses.replace(X, name="other"))
    mlflow.pyfunc.save_model(tmp_path / "line", **line(2))
    with pytest.raises(InputsChangedError, match="input 'other' is gone"):
        move(pool, str(tmp_path / "line"))
    assert pool.changes == []
    move(pool, str(tmp_path / "line"), rollout=Rollout(allow_new_inputs=True))
    assert pool.last.allow_new_inputs


def test_a_pool_that_follows_a_name_moves_to_no_object() -> None:
    pool = pool_of(X, refresh_s=30.0)
    with pytest.raises(InvalidOptionError, match="Cannot use option 'refresh_s'"):
        move(pool, DoubleModel())
    assert pool.changes == []


def test_a_change_that_rests_on_what_a_pool_is_is_made_anew_when_that_has_changed() -> None:
    pool, revisions = pool_of(X), [Revision(1, 4), Revision(2, 1)]

    def meanwhile() -> None:
        if revisions:
            pool.revision = revisions.pop(0)

    pool.meanwhile = meanwhile
    serve.again(cast(Pool, pool), lambda seen: move(pool, DoubleModel(), expect=seen))
    assert [intent.expect for intent, _ in pool.changes] == [Revision(1, 3), Revision(1, 4), Revision(2, 1)]
    assert len({intent.id for intent, _ in pool.changes}) == 3, "each is a change of its own"


def test_who_is_never_the_first_is_told_at_last() -> None:
    pool = pool_of(X)

    def meanwhile() -> None:
        pool.revision = Revision(1, pool.revision.number + 1)

    pool.meanwhile = meanwhile
    with pytest.raises(RevisionChangedError):
        serve.again(cast(Pool, pool), lambda seen: move(pool, DoubleModel(), expect=seen))
    assert len(pool.changes) == 10


def test_a_whole_registration_is_told_whole() -> None:
    pool, spec = pool_of(X), pool_of(workers=2).served
    planned = Planned(spec, resolve("m", DoubleModel()))
    assert serve.serve(planned, moving=cast(Pool, pool), progress=False) is cast(Pool, pool)
    ((intent, payload),) = pool.changes
    assert (intent.kind, intent.spec, intent.source, intent.allow_new_inputs) == ("replace", spec, None, True)
    assert payload == planned.resolved.payload
