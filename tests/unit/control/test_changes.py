# SPDX-License-Identifier: Apache-2.0
"""What the statements of ALTER MODEL tell a pool: what was said, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from sparkmodel.cluster.pools import Pool
from sparkmodel.control import changes
from sparkmodel.control.requests import Request
from sparkmodel.errors import InvalidOptionError, ResultTypeChangedError, UnsupportedSourceError
from sparkmodel.registration.rollout import Rollout
from sparkmodel.wire.directory import Revision
from tests.unit.registration.pools import Asked, X, pool_of


def configured(pool: Asked, options: dict[str, Any], unset: tuple[str, ...] = ()) -> Asked:
    changes.configure(cast(Pool, pool), options, unset)
    return pool


def test_options_are_told_as_they_were_said() -> None:
    pool = configured(pool_of(X, workers=5, max_retries=9), {"timeout": "7s", "workers": "0..2"})
    assert (pool.last.kind, pool.last.options) == ("options", {"timeout_s": 7.0, "workers": (0, 2)})
    assert (pool.last.fields, pool.last.expect) == ({}, None)
    configured(pool, {}, ("max_retries", "METHOD"))
    assert (pool.last.options, pool.last.fields) == ({"max_retries": 3}, {"method": None})


def test_an_entry_is_put_into_the_mapping_that_there_is_then() -> None:
    pool = pool_of(X, extra_env={"A": "a"})
    others = [dataclasses.replace(pool.served.options, extra_env={"A": "a", "C": "c"})]

    def meanwhile() -> None:
        if others:
            pool.served = dataclasses.replace(pool.served, options=others.pop())
            pool.revision = Revision(1, 9)

    pool.meanwhile = meanwhile
    configured(pool, {"extra_env.B": "b"})
    first, second = (intent for intent, _ in pool.changes)
    assert (first.options, first.expect) == ({"extra_env": {"A": "a", "B": "b"}}, Revision(1, 3))
    assert (second.options, second.expect) == ({"extra_env": {"A": "a", "C": "c", "B": "b"}}, Revision(1, 9))
    configured(pool, {"params.k": 2})
    assert (pool.last.fields, pool.last.expect) == ({"params": {"k": 2}}, Revision(1, 9))


def test_another_manager_of_libraries_brings_what_it_installs() -> None:
    pool = configured(pool_of(X, env_manager="uv"), {"env_manager": "local"})
    assert (pool.last.options, pool.last.fields) == ({"env_manager": "local"}, {"requirements": ()})
    assert pool.last.expect == pool.revision, "what is installed is the source's that was read"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tls": True}, InvalidOptionError),
        ({"detached": True}, InvalidOptionError),
        ({"on_error": "struct"}, ResultTypeChangedError),
        ({"method": "predict_proba"}, ResultTypeChangedError),
        ({"result_type": "double"}, ResultTypeChangedError),
        ({"refresh": "10s"}, InvalidOptionError),
        ({"worker": 2}, InvalidOptionError),
        ({"env_manager": "uv"}, InvalidOptionError),
    ],
)
def test_what_would_break_callers_is_refused_before_the_pool_is_told(options: dict[str, Any], error: Any) -> None:
    pool = pool_of(X)
    with pytest.raises(error):
        configured(pool, options)
    assert pool.changes == []


@pytest.mark.parametrize(("given", "workers"), [(3, 3), ("3", 3), ("0..3", (0, 3))])
def test_a_size_is_a_number_or_a_range(given: Any, workers: Any) -> None:
    pool = pool_of(X)
    changes.scale(cast(Pool, pool), Request("alter", {"workers": given}, lambda: None).workers("workers"))
    assert (pool.last.kind, pool.last.workers) == ("size", workers)


@pytest.mark.parametrize("given", [0, "0", "3..1", "-1", "many"])
def test_a_size_that_no_pool_has_is_refused(given: Any) -> None:
    with pytest.raises(InvalidOptionError):
        changes.scale(cast(Pool, pool_of(X)), Request("alter", {"workers": given}, lambda: None).workers("workers"))


def test_versions_are_told_by_their_numbers() -> None:
    pool = pool_of(X)
    changes.promote(cast(Pool, pool))
    changes.roll_back(cast(Pool, pool), None)
    changes.roll_back(cast(Pool, pool), 7)
    assert [(intent.kind, intent.to) for intent, _ in pool.changes] == [
        ("promote", None),
        ("rollback", None),
        ("rollback", 7),
    ]


def test_another_location_is_of_the_kind_that_is_served_and_looked_at_again() -> None:
    pool = pool_of(X, source="python:tests.models:DoubleModel")
    changes.move(cast(Pool, pool), "tests.models:first_column", None, Rollout(traffic=0.5))
    assert pool.last.source is not None
    assert (pool.last.kind, pool.last.source.source.given) == ("source", "python:tests.models:first_column")
    assert (pool.last.traffic, pool.last.expect) == (0.5, None)
    with pytest.raises(UnsupportedSourceError, match="import path"):
        changes.move(cast(Pool, pool), "/tmp/model.pkl", None, Rollout())
    changes.refresh(cast(Pool, pool))
    assert pool.last.source is not None
    assert (pool.last.source.source.given, pool.last.expect) == ("python:tests.models:DoubleModel", pool.revision)
