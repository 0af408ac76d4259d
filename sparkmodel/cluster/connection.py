# SPDX-License-Identifier: Apache-2.0
"""The driver's connection to Ray: a local one that we start and clean up, or a cluster that was named."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import IO, Any

import ray

from sparkmodel.cluster import head_token, janitor
from sparkmodel.cluster.common import NAMESPACE, SPARES, check_spares
from sparkmodel.cluster.scratch import Scratch
from sparkmodel.cluster.tokens import OwnToken, on_loopback
from sparkmodel.errors import InvalidOptionError, RayUnavailableError

_CLOSE_S = 5.0


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How this process is connected.

    Attributes:
        namespace: Ray namespace of the pools' names.
        scratch: Directory of the Ray that this process started, removed with it; None on a cluster.
        spares: Processes that each node keeps ready to become workers.
        token: Of the Ray that this process started.
        janitor: Removes the directory if this process is killed.
        supervisors: Of this process's pools, by whether they outlive it: name and actor. Ray ends an actor when its
            creator drops the handle, whoever else uses its pools.
    """

    namespace: str
    scratch: Scratch | None = None
    spares: int = SPARES
    token: OwnToken | None = dataclasses.field(default=None, repr=False)
    janitor: IO[bytes] | None = None
    supervisors: dict[bool, tuple[str, Any]] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether this process started its own Ray, which ends with it."""
        return self.scratch is not None


_runtime: Runtime | None = None
_preferred = SPARES
_lock = threading.RLock()  # a control service connects from whichever thread is asked first


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
    with _lock:
        return _connect(address, namespace, _preferred if spares is None else spares, ray_options)


def _in_lasting_thread(start: Callable[[], Runtime]) -> Runtime:
    """Start a local Ray from a thread that lives as long as the process: Linux ends Ray's processes with it."""
    if threading.current_thread() is threading.main_thread():
        return start()
    made: Future[Runtime] = Future()

    def run() -> None:
        try:
            made.set_result(start())
        except BaseException as error:
            made.set_exception(error)
            return
        threading.Event().wait()

    threading.Thread(target=run, name="sparkmodel-ray", daemon=True).start()
    return made.result()


def _connect(address: str | None, namespace: str, spares: int, ray_options: dict[str, Any]) -> Runtime:
    global _runtime
    check_spares(spares)
    if _runtime is not None and ray.is_initialized():
        if address is not None or ray_options:
            raise InvalidOptionError(
                "Cannot connect to Ray again",
                "this process is connected already",
                "call sm.init before anything else, or sm.shutdown first",
            )
        return _runtime
    if ray.is_initialized():
        _runtime = Runtime(namespace, spares=spares)
        return _runtime
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        head_token.look_for(address)
        _use_token()
        _init("connect to", address, namespace=namespace, address=address, **ray_options)
        _runtime = Runtime(namespace, spares=spares)
    else:
        _runtime = _in_lasting_thread(lambda: _start_local(namespace, spares, ray_options))
    atexit.register(shutdown)
    return _runtime


def _start_local(namespace: str, spares: int, ray_options: dict[str, Any]) -> Runtime:
    scratch = Scratch()
    token = None
    watching = janitor.watch(scratch.path)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RUNTIME_ENV_RETRY_TIMES", "1")  # a requirement that does not exist will not be there soon
    # Ray warns at each start that it uses a token, which is what we want
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    options = {
        "include_dashboard": False,
        "log_to_driver": False,  # else what a model prints, a progress bar for each batch, lands in the session
        "logging_level": logging.WARNING,
        "_temp_dir": str(scratch.path / "r"),  # Ray opens this one to everybody, whoever made it
        **ray_options,
    }
    try:
        token = OwnToken(scratch.path, options)
        with on_loopback(options):
            _init("start", "local", namespace=namespace, address="local", **options)
    except BaseException:
        if token is not None:
            token.forget()
        scratch.remove()
        watching.close()
        raise
    return Runtime(namespace, scratch, spares, token, watching)


def _use_token() -> None:
    """Show the cluster the token that this machine has.

    Clusters demand one by default since Ray 2.60; Ray shows it by itself to a cluster that it found, but not to one
    that was named, and then reports a lost connection after 20 seconds.
    """
    try:
        from ray._private.authentication import authentication_token_setup as setup
    except ImportError:  # an older Ray, whose clusters ask for no token
        return
    # which it would warn of
    logging.getLogger(setup.__name__).setLevel(logging.ERROR)
    setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _init(verb: str, what: str, **options: Any) -> None:
    try:
        ray.init(**options)
    except Exception as error:  # a node that starts too slowly is a bare Exception to Ray
        raise RayUnavailableError(
            f"Cannot {verb} Ray '{what}'",
            f"{type(error).__name__}: {error}",
            "check the address and, if the cluster uses tokens, RAY_AUTH_MODE and RAY_AUTH_TOKEN",
        ) from error


def prefer(spares: int) -> None:
    """Keep so many processes ready if `connect` is not told how many.

    Raises:
        InvalidOptionError: it is no whole number of at least 0.
    """
    global _preferred
    _preferred = check_spares(spares)


def current() -> Runtime:
    """The connection, made now if there was none."""
    return ensure(None, NAMESPACE)


def ensure(address: str | None, namespace: str) -> Runtime:
    """The connection, whatever it is to; made to this address if there was none."""
    with _lock:
        return _runtime if _runtime is not None and ray.is_initialized() else connect(address, namespace)


def is_connected() -> bool:
    """Whether this process is connected."""
    return _runtime is not None and ray.is_initialized()


def is_alone(address: str | None) -> bool:
    """Whether there is no Ray to look at before one is started: then there are no pools either."""
    return not (ray.is_initialized() or address or os.environ.get("RAY_ADDRESS"))


def shutdown() -> None:
    """Disconnect; a Ray that we started ends, its pools and its files with it. Calling it twice does nothing."""
    global _runtime
    with _lock:
        runtime, _runtime = _runtime, None
        if runtime is None:
            return
        atexit.unregister(shutdown)
        _close(runtime)
        ray.shutdown()
        if runtime.token is not None:
            runtime.token.forget()
        if runtime.scratch is not None:
            runtime.scratch.remove()
        if runtime.janitor is not None:
            runtime.janitor.close()


def _close(runtime: Runtime) -> None:
    """End the pools that end with this process, so that nothing has to notice that it has gone."""
    _, bound = runtime.supervisors.get(False, ("", None))
    runtime.supervisors.clear()
    if bound is not None and ray.is_initialized():
        with contextlib.suppress(Exception):  # whatever Ray says at the end: what is left ends with the connection
            ray.get(bound.close.remote(), timeout=_CLOSE_S)


__all__ = [
    "NAMESPACE",
    "SPARES",
    "Runtime",
    "check_spares",
    "connect",
    "current",
    "ensure",
    "is_alone",
    "is_connected",
    "prefer",
    "shutdown",
]
