# SPDX-License-Identifier: Apache-2.0
"""A pool that follows a name in a registry, here a dictionary."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from sparkmodel.errors import ModelNotFoundError, ResultTypeChangedError
from sparkmodel.loaders import Resolved
from sparkmodel.pool.follower import Follower
from sparkmodel.pool.intents import Intent
from sparkmodel.schema import Signature
from sparkmodel.spec import ModelSpec, Source
from tests.unit.pool.toys import RunningPool, eventually, spec_of


class Registry:
    """Says what the name means; None while it cannot be reached."""

    def __init__(self) -> None:
        self.uri: str | None = "tests.models:DoubleModel"
        self.answering: Callable[[], None] = lambda: None

    def successor(self, spec: ModelSpec) -> tuple[ModelSpec, Resolved]:
        if self.uri is None:
            raise ModelNotFoundError("Cannot resolve 'models:/wine@champion'", "the registry does not answer")
        uri = self.uri if spec.source.given == "models:/wine@champion" else spec.source.uri
        self.answering()
        return spec, Resolved(dataclasses.replace(spec.source, uri=uri), Signature())


DOUBLE, SAME, BROKEN = "tests.models:DoubleModel", "tests.models:ErrorModel", "tests.models:NoSuchModel"


def resolved(given: str, uri: str) -> Resolved:
    return Resolved(Source(kind="python", given=given, uri=uri), Signature())


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def pool(make_pool: Callable[..., RunningPool], short_grace: None) -> RunningPool:
    """Serves what the name means."""
    pool = make_pool()
    spec, _ = spec_of("python:" + DOUBLE, refresh_s=0.05)
    spec = dataclasses.replace(spec, source=resolved("models:/wine@champion", DOUBLE).source)
    pool.master.apply(Intent(kind="replace", spec=spec))
    pool.supervise()
    return pool


def look(pool: RunningPool, follower: Follower) -> str:
    """Look once; what is served then."""
    assert pool.master.serving is not None
    follower.look(pool.master.serving)
    return pool.master.current.spec.source.uri


def test_the_pool_moves_when_the_name_does_and_only_then(pool: RunningPool, registry: Registry) -> None:
    follower = Follower(pool.master, registry.successor)
    for uri in (DOUBLE, SAME, SAME, DOUBLE):
        registry.uri = uri
        assert look(pool, follower) == uri
    assert [entry["resolved"] for entry in pool.master.versions()] == [DOUBLE, SAME, DOUBLE]
    assert pool.master.versions()[1]["by"] == "the name models:/wine@champion"
    assert follower.error is None


def test_a_version_that_cannot_be_loaded_is_tried_once_and_remembered(pool: RunningPool, registry: Registry) -> None:
    follower = Follower(pool.master, registry.successor)
    registry.uri = BROKEN
    for _ in range(3):
        assert look(pool, follower) == DOUBLE
    assert [entry["state"] for entry in pool.master.versions()] == ["serving", "failed"]
    assert follower.error is not None
    assert "NoSuchModel" in follower.error
    registry.uri = SAME
    assert look(pool, follower) == SAME
    assert follower.error is None


def test_a_rollback_stays_until_the_name_moves_again(pool: RunningPool, registry: Registry) -> None:
    follower = Follower(pool.master, registry.successor)
    registry.uri = SAME
    assert look(pool, follower) == SAME
    pool.rollback()
    assert look(pool, follower) == DOUBLE
    pool.next_master()
    follower = Follower(pool.master, registry.successor)
    assert look(pool, follower) == DOUBLE, "the next master forgot what the name was seen to mean"
    registry.uri = DOUBLE
    assert look(pool, follower) == DOUBLE
    registry.uri = SAME
    assert look(pool, follower) == SAME


def test_what_an_operator_names_is_not_replaced_by_what_a_name_means(pool: RunningPool, registry: Registry) -> None:
    """Also if the name moved, and was looked at, while the operator's version was on its way."""
    follower = Follower(pool.master, registry.successor)
    registry.uri = SAME
    registry.answering = lambda: pool.change("source", source=resolved("models:/wine/7", DOUBLE)) and None
    assert look(pool, follower) == DOUBLE
    registry.answering = lambda: None
    assert look(pool, follower) == DOUBLE
    assert pool.master.current.spec.source.given == "models:/wine/7"


def test_a_rollback_while_the_registry_answers_is_not_undone(pool: RunningPool, registry: Registry) -> None:
    follower = Follower(pool.master, registry.successor)
    registry.uri = SAME
    assert look(pool, follower) == SAME
    registry.uri = "tests.models:WrongLengthModel"
    registry.answering = lambda: pool.rollback() and None
    assert look(pool, follower) == DOUBLE
    registry.answering = lambda: None
    assert look(pool, follower) == DOUBLE


def test_what_is_not_followed_any_more_moves_nothing(pool: RunningPool) -> None:
    """Whoever has looked, and whenever."""
    pool.change("source", source=resolved("models:/wine/7", SAME))
    pool.change("follow", source=resolved("models:/wine@champion", DOUBLE))
    assert pool.master.current.spec.source.uri == SAME
    assert pool.master.seen == ("models:/wine@champion", DOUBLE)


def test_a_version_that_does_not_fit_is_tried_once(pool: RunningPool) -> None:
    pool.change("options", fields={"signature": Signature(output=pa.float64())})
    follow = Resolved(Source(kind="python", given="models:/wine@champion", uri=SAME), Signature(output=pa.string()))
    with pytest.raises(ResultTypeChangedError):
        pool.change("follow", source=follow)
    assert pool.master.seen == ("models:/wine@champion", SAME)


def test_following_touches_the_source_only(pool: RunningPool, registry: Registry) -> None:
    """Size and options that were changed since the spec was made stay."""
    follower = Follower(pool.master, registry.successor)
    stale = pool.master.serving
    assert stale is not None
    pool.change("size", workers=2)
    pool.change("options", options={"timeout_s": 7.0})
    registry.uri = SAME
    follower.look(stale)
    assert pool.master.current.spec.source.uri == SAME
    assert pool.master.current.spec.options.timeout_s == 7
    assert len(pool.serving) == 2


def test_a_registry_that_is_down_is_asked_again(pool: RunningPool, registry: Registry) -> None:
    registry.uri = None
    follower = Follower(pool.master, registry.successor)
    thread = threading.Thread(target=follower.run)
    thread.start()
    eventually(lambda: follower.error is not None)
    registry.uri = SAME
    eventually(lambda: pool.master.current.spec.source.uri == SAME)
    pool.master.stop()
    thread.join(120)
    assert not thread.is_alive()
