# SPDX-License-Identifier: Apache-2.0
"""One pool as its supervisor has it: the master, who follows a name for it, and the door where callers ask."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from sparkmodel.cluster.launch import RayLauncher
from sparkmodel.cluster.records import Deed, Deeds
from sparkmodel.errors import PoolGoneError, PoolNotReadyError
from sparkmodel.loaders.successor import refreshed
from sparkmodel.pool.follower import Follower
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.pool.master import Master
from sparkmodel.wire.capabilities import Renewals
from sparkmodel.wire.directory import Directory, Endpoint
from sparkmodel.wire.server import Server
from sparkmodel.wire.verdicts import Fate, Verdict

_log = logging.getLogger(__name__)
_ADOPT_S = 30.0  # for callers who come while the workers are being adopted


class Ward:
    """The pool of a deed. It is the wire's `Service` at the master's door.

    Args:
        deed: Which.
        deeds: Where it and the master's record are kept.
        address: Of this node.
        launcher: Starts its workers.
        on_step: Is told how far a change is.
        is_bound: Whether it ends with the application that made it.
    """

    def __init__(
        self,
        deed: Deed,
        deeds: Deeds,
        address: str,
        launcher: RayLauncher,
        on_step: Callable[[str], None],
        *,
        is_bound: bool,
    ) -> None:
        self.name, self.version, self.token, self.pool_id = deed.name, 0, deed.token, deed.pool_id
        self._deeds, self._launcher = deeds, launcher
        self._certificate = None if deed.identity is None else deed.identity.certificate
        self.master = Master(deed.name, launcher, deeds.record(deed.pool_id), on_step=on_step)
        self.follower = Follower(self.master, refreshed)
        self._settled = threading.Event()
        self._ttl_s = deed.ttl_s
        self._renewals = Renewals(deed.token, deed.ttl_s, owner=deed.app if is_bound else "")
        self._server = _server(self, address, deed, self._renewals)
        self.master.door = self._server.endpoint
        deeds.put(dataclasses.replace(deed, port=self._server.endpoint[1]))

    def adopt(self) -> bool:
        """Take over the workers that a supervisor before this one had; False if it never came so far."""
        try:
            if not self.master.adopt():
                return False
            self._begin()
            return True
        finally:
            self._settled.set()

    def open(self, schema: Any, options: dict[str, Any]) -> Any:
        raise PoolGoneError(f"Cannot score with '{self.name}'", "a master does not score")

    @property
    def directory(self) -> Directory:
        """For callers."""
        self._settled.wait(_ADOPT_S)
        return self.master.directory

    def pin(self, query: str, digest: str, deadline: float) -> int:
        """For callers: see `Service.pin`."""
        if not self._settled.wait(max(0.0, min(_ADOPT_S, deadline - time.monotonic()))):
            raise PoolNotReadyError(f"Cannot score with '{self.name}'", "its workers are being adopted", "ask again")
        return self.master.pin(query, digest, deadline)

    def fate(self, endpoint: Endpoint, session: int, seq: int) -> Fate:
        """For callers: see `Service.fate`."""
        return self.master.fate(endpoint, session, seq)

    def condemn(self, verdict: Verdict) -> None:
        """For callers: see `Service.condemn`."""
        self.master.condemn(verdict)

    def first(self, intent: Intent, boxed: list[Any]) -> Applied:
        """Serve the first version."""
        assert intent.spec is not None
        self._settled.set()
        applied = self.master.open(intent.spec, _payload(intent, boxed), intent)
        self._begin()
        return applied

    def change(self, intent: Intent, boxed: list[Any]) -> Applied:
        """Do what somebody wants."""
        return self.master.apply(intent, _payload(intent, boxed))

    def attend(self, app: str) -> None:
        """An application that calls goes on: what it is let in by is renewed."""
        self._renewals.attend(app)

    def describe(self, app: str) -> dict[str, Any]:
        """What a handle of an application is made of."""
        self.attend(app)
        current = self.master.current
        return {
            "spec": current.described,
            "version": current.version,
            "pool_id": self.pool_id,
            "token": self.token,
            "ttl_s": self._ttl_s,
            "tls": self._certificate,
            "master": self._server.endpoint,
            "directory": self.master.directory,
        }

    def may_give_way(self) -> bool:
        """Whether it has more workers than it must have."""
        spec, directory = self.master.serving, self.master.directory
        if spec is None or isinstance(spec.options.workers, int):
            return False
        served = directory.of(directory.version)
        return served is not None and len(served.endpoints) > spec.options.workers[0]

    def stop(self) -> None:
        """End the workers and the door, and leave nothing."""
        self.master.stop()
        self._server.close()
        self._launcher.close()
        self._deeds.remove(self.pool_id)

    def _begin(self) -> None:
        for target in (self.master.run, self.follower.run):
            threading.Thread(target=target, name="sparkmodel-supervisor", daemon=True).start()


def _server(ward: Ward, address: str, deed: Deed, renewals: Renewals) -> Server:
    """At the port that callers know, if it is still to be had."""
    try:
        return Server(ward, address, port=deed.port, identity=deed.identity, admit=renewals.admit)
    except OSError as error:
        if not deed.port:
            raise
        _log.info("the door of '%s' moves from port %d: %s", deed.name, deed.port, error)
        return Server(ward, address, identity=deed.identity, admit=renewals.admit)


def _payload(intent: Intent, boxed: list[Any]) -> Any:
    """For `Launcher.keep`: the key makes the same intent's the same."""
    return (intent.id, boxed) if boxed else None
