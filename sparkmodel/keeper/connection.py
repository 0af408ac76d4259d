# SPDX-License-Identifier: Apache-2.0
"""The driver's way to Ray, by way of its keeper: what `sparkmodel.cluster.connection` is to a process that holds it."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import logging
import os
import pathlib
import sys
import threading
from typing import Any

from sparkmodel.cluster import head_token
from sparkmodel.cluster.common import NAMESPACE, SPARES, check_spares
from sparkmodel.errors import InvalidOptionError
from sparkmodel.keeper.link import Link, anew
from sparkmodel.wire.capabilities import ttl_s

_log = logging.getLogger(__name__)
_ATTEND_S = 3600.0
_JOIN_S = 120.0  # a cluster that does not let us in; Ray would try for longer
_LOCAL = "local"


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How this process is connected.

    Attributes:
        namespace: Ray namespace of the pools' names.
        scratch: Directory of the Ray that the keeper started, removed with it; None on a cluster.
        link: The keeper.
    """

    namespace: str
    scratch: pathlib.Path | None
    link: Link = dataclasses.field(repr=False, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether the keeper started its own Ray, which ends with it."""
        return self.scratch is not None


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What was connected to, and is again if the keeper or Ray has ended."""

    address: str | None
    namespace: str
    spares: int
    options: dict[str, Any]


class _State:
    """Of this process; one that is forked starts with another."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # of who connects; a control service does so from whichever thread is asked first
        self.link: Link | None = None  # maybe one that is not connected yet
        self.runtime: Runtime | None = None
        self.wanted: _Wanted | None = None
        self.is_over: threading.Event | None = None  # while pools of a cluster are attended to
        self.retired: list[Link] = []  # whose Ray was lost; they end by themselves
        self.spares = SPARES


_state = _State()


def _forked() -> None:
    global _state
    _state = _State()


os.register_at_fork(after_in_child=_forked)


def connect(
    address: str | None = None, namespace: str = NAMESPACE, spares: int | None = None, **ray_options: Any
) -> Runtime:
    """Connect to Ray, once for each process.

    A bare `ray.init()` would join any cluster it finds on the machine, so a cluster is only joined by `address` or
    RAY_ADDRESS, or if the program called `ray.init` itself; else a local Ray is started.

    Raises:
        RayUnavailableError: it cannot be started or reached.
        InvalidOptionError: already connected, and another address is asked for.
    """
    known = None if address == _LOCAL else address
    wanted = _Wanted(known, namespace, check_spares(_state.spares if spares is None else spares), ray_options)
    with _state.lock:
        runtime = _living()
        if runtime is None:
            return _connect(wanted)
        if address is not None or ray_options:
            raise InvalidOptionError(
                "Cannot connect to Ray again",
                "this process is connected already",
                "call sm.init before anything else, or sm.shutdown first",
            )
        return runtime


def _living() -> Runtime | None:
    """The connection that was made, unless it has ended.

    Raises:
        RayUnavailableError: the head of a cluster does not answer. It may do so again.
    """
    runtime = _state.runtime
    if runtime is None or runtime.link.is_usable:
        return runtime
    lost = runtime.link.lost
    if lost is not None and not runtime.link.has_ended:
        if not (runtime.is_local and runtime.link.is_lost_for_good):
            raise anew(lost)
        _state.retired.append(runtime.link)  # what its pools have under way may still be answered
    _state.link = _state.runtime = None
    return None


def _connect(wanted: _Wanted) -> Runtime:
    address = _own_ray() or wanted.address or os.environ.get("RAY_ADDRESS") or _LOCAL
    if address != _LOCAL:
        head_token.look_for(address)  # before a process imports Ray for it
    link = _prepared()
    link.process.shows = bool(wanted.options.get("log_to_driver"))
    try:
        scratch = link.call(
            "connect",
            address,
            wanted.namespace,
            wanted.spares,
            wanted.options,
            limit_s=None if address == _LOCAL else _JOIN_S,
        )
    except BaseException:
        _state.link = None
        link.close(wait=False)
        raise
    _state.runtime, _state.wanted = Runtime(wanted.namespace, scratch, link), wanted
    if scratch is None and _state.is_over is None:
        _state.is_over = threading.Event()
        threading.Thread(target=_attend, args=(_state.is_over,), name="sparkmodel-attend", daemon=True).start()
    return _state.runtime


def _attend(is_over: threading.Event) -> None:
    """Say to the pools of a cluster every hour that this driver goes on: what its plans hold is renewed then.

    They may outlive keepers; a local Ray's do not, and need nobody to say so.
    """
    while not is_over.wait(_attend_s()):
        try:
            current().link.call("attend")
        except Exception as error:  # whatever it was: who does not go on lets all plans expire
            _log.info("the pools were not attended to: %s", error)


def _attend_s() -> float:
    with contextlib.suppress(InvalidOptionError):  # who registers a pool is told of it
        return min(_ATTEND_S, ttl_s() / 2)
    return _ATTEND_S


def _prepared() -> Link:
    """The keeper, started now if there is none."""
    if _state.link is None or not _state.link.is_usable:
        _state.link = Link()
        atexit.unregister(shutdown)
        atexit.register(shutdown)
    return _state.link


def prepare() -> None:
    """Have a keeper start, if there is none, which imports Ray while something else is done."""
    if _state.lock.acquire(blocking=False):  # else somebody is at it
        try:
            if _state.runtime is None:
                _prepared()
        finally:
            _state.lock.release()


def _own_ray() -> str | None:
    """The address of the Ray that the program itself is connected to."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    address: str = ray.get_runtime_context().gcs_address
    return address


def prefer(spares: int) -> None:
    """Keep so many processes ready if `connect` is not told how many.

    Raises:
        InvalidOptionError: it is no whole number of at least 0.
    """
    _state.spares = check_spares(spares)


def warm() -> None:
    """On a local Ray have what its first pool needs start before that pool."""
    current().link.call("warm")


def current() -> Runtime:
    """The connection, made now if there was none."""
    return ensure(None, NAMESPACE)


def ensure(address: str | None, namespace: str) -> Runtime:
    """The connection, whatever it is to; made to this address if there was none, and to the same as before if it ended.

    Raises:
        RayUnavailableError: Ray cannot be started or reached.
    """
    with _state.lock:
        return _living() or _connect(_state.wanted or _Wanted(address, namespace, _state.spares, {}))


def is_connected() -> bool:
    """Whether this process is connected."""
    runtime = _state.runtime
    return runtime is not None and runtime.link.is_usable


def is_alone(address: str | None) -> bool:
    """Whether there is no Ray to look at before one is started: then there are no pools either."""
    before = _state.wanted.address if _state.wanted is not None else None
    return not (is_connected() or address or before or os.environ.get("RAY_ADDRESS") or _own_ray())


def shutdown() -> None:
    """Disconnect; a Ray that we started ends, its pools and its files with it. Calling it twice does nothing."""
    links = [*_state.retired, *([_state.link] if _state.link is not None else [])]
    _state.retired, _state.link, _state.runtime, _state.wanted = [], None, None, None
    if _state.is_over is not None:
        _state.is_over.set()
        _state.is_over = None
    atexit.unregister(shutdown)
    for link in links:
        link.close(wait=False)
    for link in links:
        link.close()


__all__ = [
    "NAMESPACE",
    "Runtime",
    "connect",
    "current",
    "ensure",
    "is_alone",
    "is_connected",
    "prefer",
    "prepare",
    "shutdown",
    "warm",
]
