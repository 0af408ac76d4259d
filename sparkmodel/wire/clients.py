# SPDX-License-Identifier: Apache-2.0
"""The clients of this process, by pool."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sparkmodel.wire.handle import Credential, Handle, PoolRef

if TYPE_CHECKING:
    from sparkmodel.wire.client import PoolClient

_PERIOD_S = 15.0
_IDLE_S = 60.0  # a connection that nobody has used for so long is closed
_UNUSED_S = 300.0  # a client is forgotten


class Clients:
    """One client for each pool and credential; a thread closes what nobody uses, and ends with the last client.

    Args:
        make: Makes a client.
    """

    def __init__(self, make: Callable[[PoolRef, Credential], PoolClient]) -> None:
        self._make = make
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Begin anew: a forked process shares neither sockets nor threads, nor a lock that a thread of before held."""
        self.lock = threading.Lock()
        self._clients: dict[tuple[str, Credential], PoolClient] = {}
        self._is_sweeping = False

    def of(self, handle: Handle) -> PoolClient:
        """This process's client of a pool: one for all tasks, so that connections outlive batches and tasks.

        All handles of the pool share it, whatever else they say; but a credential opens no connection of another's.
        What one was renewed to stays within its client.
        """
        key = handle.pool.pool_id, handle.credential
        with self.lock:
            client = self._clients.get(key)
            if client is None:
                client = self._clients[key] = self._make(handle.pool, handle.credential)
            client.used = time.monotonic()  # before a sweep can see it
            if not self._is_sweeping:
                self._is_sweeping = True
                threading.Thread(target=self._sweep_on, name="sparkmodel-idle-connections", daemon=True).start()
        client.learn(handle.pool)
        return client

    def forget(self, pool_id: str) -> None:
        """Close the connections to a pool that was dropped."""
        with self.lock:
            keys = [key for key in self._clients if key[0] == pool_id]
            forgotten = [self._clients.pop(key) for key in keys]
        for client in forgotten:
            client.close()

    def sweep(self, now: float) -> bool:
        """Close idle connections, and forget clients of pools that ended or are not used; whether any is left."""
        with self.lock:
            for key, client in list(self._clients.items()):
                client.close(idle_since=now - _IDLE_S)
                unused = client.is_dropped or now - client.used > _UNUSED_S
                if unused and client.is_quiet():
                    del self._clients[key]
                    client.close()
            self._is_sweeping = bool(self._clients)
            return self._is_sweeping

    def _sweep_on(self) -> None:
        time.sleep(_PERIOD_S)
        while self.sweep(time.monotonic()):
            time.sleep(_PERIOD_S)
