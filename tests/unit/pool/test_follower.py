# SPDX-License-Identifier: Apache-2.0
"""A pool that follows a name in a registry, here a dictionary."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.errors import ModelLoadError, ModelNotFoundError
from sparkmodel.pool.follower import Follower
from sparkmodel.spec import ModelSpec, Source
from tests.unit.pool.toys import eventually


class Registry:
    """Says what the name means; None while it cannot be reached."""

    def __init__(self) -> None:
        self.uri: str | None = "models:/wine/1"

    def successor(self, spec: ModelSpec) -> tuple[ModelSpec, None]:
        if self.uri is None:
            raise ModelNotFoundError("Cannot resolve 'models:/wine@champion'", "the registry does not answer")
        return dataclasses.replace(spec, source=dataclasses.replace(spec.source, uri=self.uri)), None


class Served:
    """What a follower sees of a master. (The real one, with a real registry, is in the integration tests.)"""

    def __init__(self, spec: ModelSpec) -> None:
        self.serving: ModelSpec | None = spec
        self.moves: list[str] = []
        self.broken: set[str] = set()
        self.stopped = threading.Event()

    @property
    def current(self) -> Any:
        return type("Generation", (), {"spec": self.serving})

    def deploy(self, spec: ModelSpec, payload: Any) -> None:
        self.moves.append(spec.source.uri)
        if spec.source.uri in self.broken:
            raise ModelLoadError("Cannot load model 'wine'", "weights are missing")
        self.serving = spec


@pytest.fixture
def served(make_spec: Callable[..., ModelSpec]) -> Served:
    return Served(make_spec(refresh_s=0.05))


@pytest.fixture
def make_spec() -> Callable[..., ModelSpec]:
    def make(**options: Any) -> ModelSpec:
        import pyarrow as pa

        from sparkmodel.options import PoolOptions
        from sparkmodel.schema import Signature

        source = Source(kind="mlflow", given="models:/wine@champion", uri="models:/wine/1")
        return ModelSpec(
            name="wine",
            source=source,
            signature=Signature(),
            result_type=pa.float64(),
            options=PoolOptions.of(options),
        )

    return make


def test_the_pool_moves_when_the_name_does_and_only_then(served: Served) -> None:
    registry = Registry()
    follower = Follower(served, registry.successor)  # type: ignore[arg-type]
    for uri in ("models:/wine/1", "models:/wine/2", "models:/wine/2", "models:/wine/1"):
        registry.uri = uri
        assert served.serving is not None
        follower.look(served.serving)
    assert served.moves == ["models:/wine/2", "models:/wine/1"]
    assert follower.error is None


def test_a_version_that_cannot_be_loaded_is_tried_once_and_remembered(served: Served) -> None:
    registry = Registry()
    served.broken = {"models:/wine/2"}
    follower = Follower(served, registry.successor)  # type: ignore[arg-type]
    registry.uri = "models:/wine/2"
    for _ in range(3):
        assert served.serving is not None
        follower.look(served.serving)
    assert served.moves == ["models:/wine/2"]
    assert follower.error is not None
    assert "weights are missing" in follower.error
    registry.uri = "models:/wine/3"
    follower.look(served.serving)
    assert served.serving.source.uri == "models:/wine/3"
    assert follower.error is None


def test_a_rollback_stays_until_the_name_moves_again(served: Served) -> None:
    registry = Registry()
    before = served.serving
    assert before is not None
    follower = Follower(served, registry.successor)  # type: ignore[arg-type]
    registry.uri = "models:/wine/2"
    follower.look(before)
    served.serving = before  # as Master.rollback does
    follower.look(before)
    assert served.serving is before
    registry.uri = "models:/wine/3"
    follower.look(before)
    assert served.serving.source.uri == "models:/wine/3"


def test_a_registry_that_is_down_is_asked_again(served: Served) -> None:
    registry = Registry()
    registry.uri = None
    follower = Follower(served, registry.successor)  # type: ignore[arg-type]
    thread = threading.Thread(target=follower.run)
    thread.start()
    eventually(lambda: follower.error is not None)
    registry.uri = "models:/wine/2"
    eventually(lambda: served.moves == ["models:/wine/2"])
    served.stopped.set()
    thread.join(120)
    assert not thread.is_alive()
