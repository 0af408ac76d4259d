# SPDX-License-Identifier: Apache-2.0
"""Follows a moving name, such as an MLflow alias: the pool moves when the name does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from sparkmodel.pool.master import Master
from sparkmodel.spec import ModelSpec

_log = logging.getLogger(__name__)
_TICK_S = 0.5


class Follower:
    """Looks every `refresh_s` for what the served source means now.

    A version that cannot be loaded is tried once; the old one goes on, and the name is looked at again. After a
    rollback the pool stays where it was rolled back to until the name moves.

    Args:
        master: Whose pool moves.
        successor: Gives the spec of what the source means now, and what is shipped for it.
    """

    def __init__(self, master: Master, successor: Callable[[ModelSpec], tuple[ModelSpec, Any]]) -> None:
        self.error: str | None = None
        self._master, self._successor = master, successor
        self._seen: tuple[str, str] = ("", "")  # the name, and what it was last seen to mean

    def run(self) -> None:
        """Look until the pool is stopped."""
        looked = time.monotonic()
        while not self._master.stopped.wait(_TICK_S):
            spec = self._master.serving
            if spec is None or spec.options.refresh_s is None:
                continue
            if time.monotonic() - looked >= spec.options.refresh_s:
                self.look(spec)
                looked = time.monotonic()

    def look(self, spec: ModelSpec) -> None:
        """Look once, and move the pool if the name has moved."""
        try:
            following, _ = self._successor(spec)
            uri = following.source.uri
            if self._seen[0] != spec.source.given:
                self._seen = (spec.source.given, spec.source.uri)
            if uri != self._seen[1]:
                self._seen = (spec.source.given, uri)
                self._master.deploy(following, [])
            if uri == self._master.current.spec.source.uri:
                self.error = None
        except Exception as error:  # a registry that is down, a version that cannot be loaded: the old one goes on
            self.error = str(error)
            _log.warning("'%s' does not follow %s: %s", spec.name, spec.source.given, error)
