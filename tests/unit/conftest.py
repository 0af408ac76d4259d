# SPDX-License-Identifier: Apache-2.0
"""Unit tests: a small service on real sockets, and a guard that keeps Ray and Spark out."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import socket
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from sparkmodel.wire.server import Server
from tests.unit.wire.liar import Liar
from tests.unit.wire.toys import HandleClient, RawClient, ToyService, handle_of

# module -> what in it would start or join an engine
_ENGINES = {
    "ray": "init",
    "pyspark.core.context": "SparkContext.__init__",
    "pyspark.sql.session": "SparkSession.Builder.getOrCreate",
}


class _Guard(importlib.abc.MetaPathFinder):
    """Closes the doors of an engine that is imported only while a test runs."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The ordinary spec, with a loader that closes the door behind itself; None for all other modules."""
        if fullname not in _ENGINES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            load(module)
            self.close(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def close(self, module: types.ModuleType) -> None:
        """Make the module's door raise until the test ends."""
        door = f"{module.__name__}.{_ENGINES[module.__name__]}"

        def refuse(*_: Any, **__: Any) -> None:
            raise RuntimeError(f"{door} was called in a unit test: move the test to tests/integration")

        *path, name = _ENGINES[module.__name__].split(".")
        owner: Any = module
        for part in path:
            owner = getattr(owner, part)
        self._patch.setattr(owner, name, refuse)


@pytest.fixture(autouse=True)
def no_engines() -> Iterator[None]:
    """Starting Ray or Spark raises. Neither is imported for this: the guard waits for a test that does."""
    with pytest.MonkeyPatch.context() as patch:
        guard = _Guard(patch)
        for name in _ENGINES:
            if name in sys.modules:
                guard.close(sys.modules[name])
        patch.setattr(sys, "meta_path", [guard, *sys.meta_path])
        yield


@pytest.fixture
def service() -> Iterator[ToyService]:
    """A service whose model doubles the first column, until the test says otherwise."""
    toy = ToyService()
    yield toy
    toy.release()


@pytest.fixture
def serve(service: ToyService) -> Iterator[Callable[..., Server]]:
    """`serve(service, **options)` puts a service on a port of loopback; all are closed at the end."""
    made: list[tuple[Server, ToyService]] = []

    def serve_(toy: ToyService | None = None, **options: Any) -> Server:
        server = Server(toy or service, "127.0.0.1", **options)
        made.append((server, toy or service))
        return server

    yield serve_
    for server, toy in made:
        toy.release()
        server.close()


@pytest.fixture
def lie() -> Iterator[Callable[..., Liar]]:
    """`lie(on_batch)` makes a worker that cannot be trusted; all are closed at the end."""
    made: list[Liar] = []

    def lie_(on_batch: Callable[[socket.socket, int], None], **options: Any) -> Liar:
        made.append(Liar(on_batch, **options))
        return made[-1]

    yield lie_
    for liar in made:
        liar.close()


@pytest.fixture
def raw(serve: Callable[..., Server]) -> Iterator[Callable[..., RawClient]]:
    """`raw(server)` connects without a greeting; all are closed at the end."""
    made: list[RawClient] = []

    def raw_(server: Server) -> RawClient:
        made.append(RawClient(server.endpoint))
        return made[-1]

    yield raw_
    for client in made:
        client.sock.close()


@pytest.fixture
def pool(serve: Callable[..., Server]) -> Iterator[Callable[..., HandleClient]]:
    """`pool(*servers, master=None, **handle)` is a client whose handle lists the servers; closed at the end.

    The first server answers as the master, unless another is named.
    """
    made: list[HandleClient] = []

    def pool_(*servers: Server, master: Server | None = None, **options: Any) -> HandleClient:
        options.setdefault("pool_id", f"pool-{id(servers)}-{len(made)}")
        made.append(HandleClient(handle_of(*servers, master=master, **options)))
        return made[-1]

    yield pool_
    for client in made:
        client.close()


@pytest.fixture
def connect(raw: Callable[[Server], RawClient]) -> Callable[[Server], RawClient]:
    """A greeted connection with a stream open."""

    def connect_(server: Server) -> RawClient:
        client = raw(server)
        client.hello()
        client.open()
        return client

    return connect_
