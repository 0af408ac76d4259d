# SPDX-License-Identifier: Apache-2.0
"""Which models are served, as the gateway sees them: found by name when they are called, looked at again in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sparkmodel.errors import ModelNotFoundError, PoolGoneError, PoolNotReadyError, VersionRetiredError, suggest
from sparkmodel.keeper import pools
from sparkmodel.rest.asked import Served
from sparkmodel.wire.client import client_of

_FRESH_S = 1.0  # what is known of a model is used so long
_LOOKS = 8

T = TypeVar("T")


class Models:
    """The models of one Ray namespace. Asks the keeper in threads of its own, never in the event loop's.

    A call of a model that is known is not held up: what is known of it is used while it is looked at anew.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKS, thread_name_prefix="sparkmodel-models")
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Served]] = {}
        self._looking: dict[str, asyncio.Future[Served]] = {}
        self._named: tuple[float, asyncio.Future[list[str]] | None] = 0.0, None

    async def find(self, name: str, version: int | None = None) -> Served:
        """A model by its name.

        Args:
            name: Its name.
            version: Number that must be among its versions; None for any.

        Raises:
            ModelNotFoundError: there is none of that name.
            VersionRetiredError: it has no such version now.
        """
        at, served = self._known.get(name, (0.0, None))
        if served is None or (version is not None and version not in served.versions):
            served = await asyncio.shield(self._look(name))  # others wait for it too, and may do so for longer
        elif time.monotonic() - at > _FRESH_S:
            self._look(name)  # for the next ones
        if version is not None and version not in served.versions:
            raise VersionRetiredError(
                f"Cannot call version {version} of model '{name}'",
                f"the versions that have workers are {list(served.versions)}",
                "call one of these, or leave the version out",
            )
        return served

    async def names(self, only: Container[str] | None = None) -> list[str]:
        """The names of all models, or of those that a token is good for."""
        names = await asyncio.get_running_loop().run_in_executor(self._threads, pools.names)
        return [name for name in names if only is None or name in only]

    async def check(self) -> list[str]:
        """The names of all models as of the last second: asked once a second, however many want to know.

        Raises:
            SparkModelError: nobody can.
        """
        at, names = self._named
        if names is None or (names.done() and time.monotonic() - at > _FRESH_S):
            names = asyncio.get_running_loop().run_in_executor(self._threads, pools.names)
            names.add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )  # nobody may wait for it any more
            self._named = time.monotonic(), names
        return await asyncio.shield(names)

    async def all(self, only: Container[str] | None = None) -> list[Served]:
        """All models that serve, or of those that a token is good for; what goes, or is not ready, is left out."""
        looks = [asyncio.shield(self._look(name)) for name in await self.names(only)]
        found = await asyncio.gather(*looks, return_exceptions=True)
        for one in found:
            gone = isinstance(one, ModelNotFoundError | PoolGoneError | PoolNotReadyError)
            if isinstance(one, BaseException) and not gone:
                raise one
        return [one for one in found if isinstance(one, Served)]

    def forget(self, name: str) -> None:
        """Look at a model anew when it is called next: its pool has moved or ended, or another one has its name.

        A look that is under way may have seen what was before.
        """
        self._known.pop(name, None)
        self._looking.pop(name, None)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look(self, name: str) -> asyncio.Future[Served]:
        """Look at a model; all who want to at the same time look once."""
        looking = self._looking.get(name)
        if looking is None:
            looking = asyncio.get_running_loop().run_in_executor(self._threads, ask, name, served_of)
            self._looking[name] = looking
            looking.add_done_callback(lambda done: self._seen(name, done))
        return looking

    def _seen(self, name: str, done: asyncio.Future[Served]) -> None:
        error = None if done.cancelled() else done.exception()
        if self._looking.get(name) is not done:  # forgotten meanwhile
            return
        del self._looking[name]
        if done.cancelled():
            return
        if error is None:
            self._known[name] = time.monotonic(), done.result()
        elif isinstance(error, ModelNotFoundError | PoolGoneError):
            self.forget(name)


def ask(name: str, see: Callable[[pools.Pool], T]) -> T:
    """What somebody sees of a model's pool. Asks the keeper: not for the event loop.

    Raises:
        ModelNotFoundError: there is none of that name; it says which there are.
    """
    try:
        try:
            return see(pools.find(name))
        except PoolGoneError:  # dropped this moment: there is none of that name, or another one already
            return see(pools.find(name))
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"Cannot find model '{name}'", "no model of that name is served", suggest(name, pools.names())
        ) from error


def served_of(pool: pools.Pool) -> Served:
    """What a pool serves now. Asks the keeper: not for the event loop."""
    spec, version = pool.spec()
    handle = pool.handle()
    client_of(handle)  # learns the way
    versions = tuple(sorted(one.version for one in handle.pool.directory.served))
    return Served(handle=handle, spec=spec, version=version, versions=versions or (version,))
