# SPDX-License-Identifier: Apache-2.0
"""The one actor that supervises the pools of a driver: a master for each, and the forks of its node.

It may be killed at any time: Ray starts it again, and it adopts what it had.
"""

from __future__ import annotations

import logging
import os
import pathlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray

from sparkmodel.cluster import claims
from sparkmodel.cluster.answers import host, wrap
from sparkmodel.cluster.claims import Entry
from sparkmodel.cluster.launch import RayLauncher, Room
from sparkmodel.cluster.mirror import Mirror
from sparkmodel.cluster.nodes import DETACHED, Nodes
from sparkmodel.cluster.records import Deed, Deeds
from sparkmodel.cluster.ward import Ward
from sparkmodel.errors import NameTakenError, PoolGoneError
from sparkmodel.pool.intents import Applied, Intent

_log = logging.getLogger(__name__)
_MOVES = 64  # changes at a time; each waits for its workers in a thread of its own


class SupervisorProcess:
    """Ray's skin over the masters of one driver's pools. It holds no model and sees no batch.

    Args:
        namespace: Of the pools' names.
        label: Its own name as an actor, which all that it makes is named by too.
        scratch: Directory of a local Ray; empty on a cluster.
        spares: Processes that each node keeps ready.
        crash_at: For tests: a directory. If there is a file in it that is named like a step of a change, its process
            is killed when it comes to that step, once: the file goes with it.
    """

    def __init__(self, namespace: str, label: str, scratch: str, spares: int, crash_at: str = "") -> None:
        self._namespace, self._label, self._address = namespace, label, host(scratch)
        context: Any = ray.get_runtime_context()
        self._is_first = not context.was_current_actor_reconstructed
        self._crash_at = pathlib.Path(crash_at) if crash_at else None
        self._deeds = Deeds(namespace, label)
        self._nodes = Nodes(pathlib.Path(scratch) if scratch else None, self._address, spares, label, namespace)
        self._lock = threading.Lock()
        self._wards: dict[str, Ward] = {}
        self._ended: set[str] = set()
        self._adopt()
        if spares:
            self._nodes.open()
        self._mirror = Mirror(self._figures)
        self._mirror.start()

    def _adopt(self) -> None:
        """Take over the pools of the supervisor before this one."""
        deeds = self._deeds.all()
        if self._is_first and not deeds:
            return
        self._nodes.adopt()
        with ThreadPoolExecutor(max_workers=max(1, len(deeds))) as threads:
            list(threads.map(self._take_over, deeds))
        self._nodes.disown(set(self._wards))

    def _take_over(self, deed: Deed) -> None:
        ward: Ward | None = None
        try:
            ward = self._ward_of(deed)
            if ward.adopt():
                self._wards[deed.pool_id] = ward
                return
        except Exception:  # one pool that cannot be adopted must not take the others along
            _log.exception("the pool of model '%s' could not be adopted, and ends", deed.name)
        claims.release(self._namespace, Entry(deed.name, deed.pool_id, self._label))
        if ward is not None:
            ward.stop()

    def deploy(self, entry: Entry, deed: Deed, intent: Intent, boxed: list[Any]) -> dict[str, Any]:
        """Make a pool, and wait until it serves; if it cannot, nothing is left."""
        return wrap(lambda: self._deploy(deed, entry, intent, boxed))

    def _deploy(self, deed: Deed, entry: Entry, intent: Intent, boxed: list[Any]) -> Applied:
        if not claims.claim(self._namespace, entry):
            raise NameTakenError(
                f"Cannot register model '{entry.name}'",
                "a pool of that name is serving",
                "pass replace=True to move it to this source, or call sm.unregister first",
            )
        with self._lock:
            if entry.pool_id in self._ended:
                claims.release(self._namespace, entry)
                raise self._gone(entry)
            known = self._wards.get(entry.pool_id)
            ward = self._wards[entry.pool_id] = known or self._ward_of(deed)
        if known is not None:  # asked again, after the answer was lost
            return known.change(intent, boxed)
        try:
            return ward.first(intent, boxed)
        except BaseException:
            self.stop(entry)
            raise

    def _ward_of(self, deed: Deed) -> Ward:
        launcher = RayLauncher(
            deed.name,
            deed.pool_id,
            deed.token,
            self._nodes,
            deed.identity,
            make_room=lambda: self._make_room(deed.pool_id),
        )
        is_bound = not self._label.startswith(DETACHED)
        return Ward(deed, self._deeds, self._address, launcher, self._step, is_bound=is_bound)

    def change(self, entry: Entry, intent: Intent, boxed: list[Any]) -> dict[str, Any]:
        return wrap(lambda: self._ward(entry).change(intent, boxed))

    def outcome(self, entry: Entry, intent_id: str) -> dict[str, Any]:
        """What an intent has led to, None for nothing."""

        def outcome() -> Applied | None:
            ward = self._wards.get(entry.pool_id)
            return None if ward is None else ward.master.outcome(intent_id)

        return wrap(outcome)

    def cancel(self, entry: Entry, intent_id: str) -> dict[str, Any]:
        """Who asked has gone."""
        return wrap(lambda: self._ward(entry).master.cancel(intent_id))

    def status(self, entry: Entry) -> dict[str, Any]:
        def status() -> dict[str, Any]:
            ward = self._wards.get(entry.pool_id)
            return {"phase": "placing", "ready": 0, "workers": 0} if ward is None else ward.master.status()

        return wrap(status)

    def stats(self, entry: Entry) -> dict[str, Any]:
        def stats() -> dict[str, Any]:
            ward = self._ward(entry)
            return {**ward.master.stats(), "refresh_error": ward.follower.error}

        return wrap(stats)

    def _figures(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            wards = [ward for ward in self._wards.values() if ward.master.serving is not None]
        return {ward.master.name: ward.master.stats() for ward in wards}

    def versions(self, entry: Entry) -> dict[str, Any]:
        return wrap(lambda: self._ward(entry).master.versions())

    def describe(self, entry: Entry, app: str) -> dict[str, Any]:
        return wrap(lambda: self._ward(entry).describe(app))

    def attend(self, entry: Entry, app: str) -> dict[str, Any]:
        """An application that calls the pool goes on."""
        return wrap(lambda: self._ward(entry).attend(app))

    def spares(self) -> dict[str, Any]:
        """What is kept ready, by node."""
        return wrap(self._nodes.describe)

    def stop(self, entry: Entry) -> dict[str, Any]:
        """End a pool, also one that is loading; tells how many are left. Its name is free at once."""

        def stop() -> int:
            claims.release(self._namespace, entry)
            with self._lock:
                self._ended.add(entry.pool_id)
                ward = self._wards.pop(entry.pool_id, None)
            if ward is not None:
                ward.stop()
            return len(self._wards)

        return wrap(stop)

    def pid(self) -> dict[str, Any]:
        """Its process; the answer says that it is there."""
        return wrap(os.getpid)

    def close(self) -> None:
        """End all pools and all that is kept ready."""
        for ward in list(self._wards.values()):
            self.stop(Entry(ward.name, ward.pool_id, self._label))
        self._nodes.close()

    def _make_room(self, pool_id: str) -> Room:
        """Have another pool give way, the one first that nobody has called for longest."""
        others = [ward for ward in list(self._wards.values()) if ward.pool_id != pool_id]
        for ward in sorted(others, key=lambda ward: -ward.master.idle_s):
            if ward.master.give_way():
                return "made"
        return "later" if any(ward.may_give_way() for ward in others) else "none"

    def _step(self, step: str) -> None:
        if self._crash_at is not None and (self._crash_at / step).exists():
            (self._crash_at / step).unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def _ward(self, entry: Entry) -> Ward:
        ward = self._wards.get(entry.pool_id)
        if ward is None:
            raise self._gone(entry)
        return ward

    @staticmethod
    def _gone(entry: Entry) -> PoolGoneError:
        return PoolGoneError(
            f"Cannot reach the pool of model '{entry.name}'",
            "it was dropped",
            "register the model again with sm.register",
        )


_remote: Any = ray.remote  # Ray's stubs know neither actor options nor .options()
_in_group: Any = ray.method  # nor its decorators
for _name in ("deploy", "change", "outcome"):
    setattr(SupervisorProcess, _name, _in_group(concurrency_group="moves")(getattr(SupervisorProcess, _name)))
SupervisorActor: Any = _remote(
    num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=32, concurrency_groups={"moves": _MOVES}
)(SupervisorProcess)
