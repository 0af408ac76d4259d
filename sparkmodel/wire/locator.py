# SPDX-License-Identifier: Apache-2.0
"""Where the versions of one pool are reached, and whom to ask when that is not known."""

from __future__ import annotations

import contextlib
import threading
import time

from sparkmodel.errors import AuthenticationError, PoolGoneError, SparkModelError, WorkerStoppingError
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.directory import Directory, Endpoint
from sparkmodel.wire.handle import Credential, Handle, PoolRef
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.router import Router
from sparkmodel.wire.tickets import Search

_GONE_S = 10.0  # how long neither a worker nor a master may answer: the next master is there within 5 s
_UNREACHED = (OSError, EOFError)  # a connection that cannot be made, or is lost; TimeoutError is one too


class Locator:
    """What a client knows of its pool, newest first. Safe for many threads.

    Attributes:
        lock: Held around each use of `router`.
        router: Chooses among the workers.
        is_dropped: Whether the pool was found to have ended.
    """

    def __init__(self, pool: PoolRef, credential: Credential) -> None:
        self.lock, self.router = threading.Lock(), Router()
        self.is_dropped = False
        self._pool, self._credential = pool, credential
        self._what = f"Cannot score with '{pool.name}'"
        self.router.update(pool.directory)

    @property
    def directory(self) -> Directory:
        """The newest that is known."""
        return self.router.directory

    def limits(self, handle: Handle) -> Limits:
        """Those in force for a call: the pool's of now, where it tells them."""
        return self.directory.limits or handle.call.limits

    def learn_pool(self, pool: PoolRef) -> None:
        """Take the way to the pool from a handle, where it is newer than that of the handles before."""
        with self.lock:
            if pool.directory.revision <= self._pool.directory.revision:
                return
            self._pool = pool
        self.learn(pool.directory)

    def learn(self, directory: Directory) -> None:
        """Take a directory, if it is newer."""
        with self.lock:
            dropped = self.router.update(directory)
        close(dropped)

    def connect(self, endpoint: Endpoint) -> Connection:
        """A new connection; what its other side knows of the pool is learned.

        Raises:
            OSError, EOFError: nobody of ours is there.
            AuthenticationError: another pool is.
        """
        connection = Connection(self._pool.name, endpoint, self._credential.token, self._credential.tls)
        self.learn(connection.directory)
        return connection

    def refresh(self, connection: Connection) -> bool:
        """Take the newest directory from a worker; whether its connection is still in order."""
        try:
            self.learn(connection.locate())
        except (*_UNREACHED, SparkModelError):
            return False
        return True

    def ask(self, query: str, digest: str, search: Search, ready_timeout_s: float) -> int | None:
        """Ask the master for the version of a query, which wakes or heals the pool; without one, where it is now.

        Args:
            query: What is held to a version; empty asks for one that may be called.
            digest: Of the plan that calls.
            search: That which it is for.
            ready_timeout_s: Longest wait for workers, where the search has no deadline.

        Returns:
            The version; None if the master is not reached at the moment.

        Raises:
            PoolGoneError: the pool was dropped, nobody answers any more, or the time is over.
            SparkModelError: the master says why there is no such version.
        """
        left_s = search.left(ready_timeout_s)
        if left_s <= 0:
            raise self._gone(f"no worker came back within {time.monotonic() - search.started:.0f} s")
        search.failed.clear()
        refused = None
        for endpoint in self._masters():
            try:
                return self._pin(endpoint, query, digest, search, left_s)
            except AuthenticationError as error:
                refused = error
            except (WorkerStoppingError, *_UNREACHED):
                continue
        if not self._hear(search) and refused is not None:
            raise self._refused(refused) from refused
        if time.monotonic() - search.heard > _GONE_S:
            raise self._gone("neither its master nor a worker answers")
        return None

    def reach(self) -> None:
        """Hear from anybody of the pool.

        Raises:
            PoolGoneError: nobody answers, or it was dropped.
        """
        refused = None
        for endpoint in (*self._masters(), *self.directory.endpoints):
            try:
                self._greet(endpoint).close()
                return
            except AuthenticationError as error:
                refused = error
            except _UNREACHED:
                continue
        if refused is not None:
            raise self._refused(refused) from refused
        raise self._gone("neither its master nor a worker answers")

    def _masters(self) -> list[Endpoint]:
        """The newest one first, then the handle's, whose successor may have its port."""
        return list(dict.fromkeys(filter(None, (self.directory.master, self._pool.master))))

    def _pin(self, endpoint: Endpoint, query: str, digest: str, search: Search, left_s: float) -> int:
        with contextlib.closing(self._greet(endpoint)) as connection:
            search.heard = time.monotonic()
            try:
                version = connection.pin(query, digest, left_s)
            except PoolGoneError as error:  # a worker has the port of a master that has ended
                raise ConnectionError(error.fact) from error
            finally:
                search.heard = time.monotonic()
            self.learn(connection.directory)
            return version

    def _hear(self, search: Search) -> bool:
        """Ask the workers for the newest directory, which names the newest master; whether one answers."""
        for endpoint in self.directory.endpoints:
            with contextlib.suppress(AuthenticationError, *_UNREACHED):
                self._greet(endpoint).close()
                search.heard = time.monotonic()
                return True
        return False

    def _greet(self, endpoint: Endpoint) -> Connection:
        connection = self.connect(endpoint)
        if connection.directory.state == "stopped":
            connection.close()
            self.is_dropped = True
            raise self._gone("it was dropped")
        return connection

    def _refused(self, error: AuthenticationError) -> PoolGoneError:
        return self._gone(f"another pool has its address now ({error.fact})")

    def _gone(self, fact: str) -> PoolGoneError:
        return PoolGoneError(self._what, f"the pool is gone: {fact}", "register the model again with sm.register")


def close(connections: list[Connection]) -> None:
    """Close all of them."""
    for connection in connections:
        connection.close()
