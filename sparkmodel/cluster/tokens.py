# SPDX-License-Identifier: Apache-2.0
"""Ray's own token, for a Ray that is started here.

Ray has no public way to it. Where one of its private names is gone, nothing is done, and Ray speaks for itself.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from sparkmodel.cluster.head_token import MODE, PATH, TOKEN
from sparkmodel.errors import InvalidOptionError
from sparkmodel.secret import new_secret

_LOOPBACK = "127.0.0.1"


class OwnToken:
    """A token for the Ray that this process starts next, which all that it starts find by themselves.

    It lies in a file of mode 0600, unlike the one that Ray would make for itself. A token that the environment names is
    taken, and moved out of it: a variable reaches the models' code.

    Args:
        directory: Where to put it; nobody else may enter it.

    Raises:
        InvalidOptionError: Ray is to listen for others than this machine, and to let everybody in.
    """

    def __init__(self, directory: pathlib.Path, ray_options: dict[str, Any]) -> None:
        self._before = {name: os.environ.get(name) for name in (MODE, TOKEN, PATH)}
        mode = os.environ.get(MODE, "token")
        if mode.lower() != "token":
            _refuse_open(mode, ray_options)
            return
        os.environ[MODE] = "token"
        if not os.environ.get(PATH) or os.environ.get(TOKEN):
            path = directory / "token"
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "w") as out:
                os.fchmod(file, 0o600)
                out.write(os.environ.pop(TOKEN, "") or new_secret())
            os.environ[PATH] = str(path)
        _refresh()

    def forget(self) -> None:
        """The environment is as before; for when that Ray has ended."""
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _refresh()


def _refuse_open(mode: str, ray_options: dict[str, Any]) -> None:
    for name in ("_node_ip_address", "dashboard_host"):
        host = str(ray_options.get(name) or _LOOPBACK)
        if host not in (_LOOPBACK, "localhost", "::1"):
            raise InvalidOptionError(
                f"Cannot start Ray with {name}='{host}'",
                f"{MODE} is '{mode}': whoever reaches the machine could run code on it",
                f"unset {MODE}, or leave out {name}",
            )


def _refresh() -> None:
    """Have Ray read its settings and its token again."""
    private = _private()
    if private is not None:
        private.config.initialize("")
        private.loader.reset_cache()


class _Private:
    """What of Ray this rests on."""

    def __init__(self) -> None:
        import ray._raylet as raylet

        module: Any = raylet
        self.config = module.Config
        self.loader: Any = module.AuthenticationTokenLoader.instance()


def _private() -> _Private | None:
    try:
        return _Private()
    except (ImportError, AttributeError):  # an older Ray, whose clusters ask for no token, or another one
        return None


@contextlib.contextmanager
def on_loopback(ray_options: dict[str, Any]) -> Iterator[None]:
    """A Ray that is started meanwhile listens on loopback only, unless the options say where.

    By itself it takes the host's address even if it is told loopback's, except where this switch, made for systems
    whose firewalls ask back, is off.
    """
    from ray._private import ray_constants

    constants: Any = ray_constants
    before = getattr(constants, "ENABLE_RAY_CLUSTER", None)
    if before is None or ray_options.get("_node_ip_address"):
        yield
        return
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
