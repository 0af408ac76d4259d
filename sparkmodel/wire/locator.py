# SPDX-License-Identifier: Apache-2.0
"""Where the versions of one pool are reached, and whom to ask when that is not known."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sparkmodel.errors import (
    AuthenticationError,
    CredentialExpiredError,
    PoolGoneError,
    SparkModelError,
    WorkerStoppingError,
)
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.directory import Directory, Endpoint
from sparkmodel.wire.handle import Credential, Handle, PoolRef
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.rounds import Rounds, Said
from sparkmodel.wire.router import Router
from sparkmodel.wire.tickets import FATE_S, Search
from sparkmodel.wire.verdicts import Fate, Verdict

_T = TypeVar("_T")
_GONE_S = 10.0  # how long neither a worker nor a master may answer: the next master is there within 5 s
_ASKING = 16  # callers of this process that ask for it at the same time: all who lost one worker do
_LEAST_S = 0.1
_REST_S = 1.0  # how long no master is asked for it again after none has answered
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
        self._renewing = threading.Lock()
        self.is_dropped = False
        self._pool, self._credential = pool, credential
        self._rounds = Rounds()
        self._asking = threading.BoundedSemaphore(_ASKING)
        self._rests_until = 0.0
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

    def connect(self, endpoint: Endpoint, within_s: float | None = None) -> Connection:
        """A new connection; what its other side knows of the pool is learned.

        Args:
            endpoint: Where.
            within_s: Longest wait to be connected, and to be greeted, where that is less than usual.

        Raises:
            OSError, EOFError: nobody of ours is there.
            AuthenticationError: another pool is.
            CredentialExpiredError: what is shown has expired, and is not renewed.
        """
        shown = self._credential
        try:
            connection = Connection(self._pool.name, endpoint, shown, within_s)
        except CredentialExpiredError:
            if endpoint in self._masters():
                raise
            self._renew(shown)
            connection = Connection(self._pool.name, endpoint, self._credential, within_s)
        self._credential = connection.renewed or self._credential
        self.learn(connection.directory)
        return connection

    def _renew(self, shown: Credential) -> None:
        """Have a master give something newer in the place of what has expired.

        Raises:
            OSError: none answers.
            CredentialExpiredError: it does not.
        """
        with self._renewing:
            if self._credential is not shown:
                return  # another thread was here
            for endpoint in self._masters():
                try:  # not by `connect`: it would come here again if that is no master's address any more
                    connection = Connection(self._pool.name, endpoint, shown)
                except (AuthenticationError, *_UNREACHED):
                    continue
                connection.close()
                self.learn(connection.directory)
                if connection.renewed is not None:
                    self._credential = connection.renewed
                    return
        raise ConnectionError("what is shown has expired, and no master answers who could renew it")

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
        said = self._rounds.of((query, digest), lambda: self._round(query, digest, search, left_s), left_s)
        if said.heard is not None:
            search.heard = max(search.heard, said.heard)
        if said.version is not None:
            return said.version
        if said.heard is None and said.refused is not None:
            raise self._refused(said.refused) from said.refused
        if time.monotonic() - search.heard > _GONE_S:
            raise self._gone("neither its master nor a worker answers")
        return None

    def fate(self, endpoint: Endpoint, session: int, seq: int, within_s: float = FATE_S) -> Fate:
        """What became of a batch, by the master; unknown if it does not say so soon.

        Args:
            endpoint: Of the worker that was lost, or is silent.
            session: Number of the connection to it.
            seq: Number of the batch on it.
            within_s: Longest wait.
        """
        found = self._tell(lambda master, left_s: master.fate(endpoint, session, seq, left_s), within_s)
        return Fate() if found is None else found

    def condemn(self, verdict: Verdict, within_s: float = FATE_S) -> None:
        """Have the master tell all callers of a batch that ends its workers; without it they find out themselves."""
        self._tell(lambda master, left_s: master.condemn(verdict, left_s), within_s)

    def _tell(self, ask: Callable[[Connection, float], _T], within_s: float) -> _T | None:
        """What a master answers; None if none does in time."""
        until = time.monotonic() + within_s
        if time.monotonic() < self._rests_until or within_s <= 0 or not self._asking.acquire(timeout=within_s):
            return None
        try:
            for endpoint in self._masters():
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return None
                try:
                    with contextlib.closing(self.connect(endpoint, left_s)) as connection:
                        answer = ask(connection, max(_LEAST_S, until - time.monotonic()))
                        self.learn(connection.directory)
                        return answer
                except (SparkModelError, *_UNREACHED):
                    continue
        finally:
            self._asking.release()
        if time.monotonic() < until:  # else it may only be slow
            self._rests_until = time.monotonic() + _REST_S
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

    def _round(self, query: str, digest: str, search: Search, left_s: float) -> Said:
        """Ask the master; if it is not reached, the workers for where it is."""
        refused = None
        for endpoint in self._masters():
            try:
                return Said(self._pin(endpoint, query, digest, search, left_s), heard=search.heard)
            except AuthenticationError as error:
                refused = error
            except (WorkerStoppingError, *_UNREACHED):
                continue
        return Said(refused=refused, heard=search.heard if self._hear(search) else None)

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
