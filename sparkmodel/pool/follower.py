# SPDX-License-Identifier: Apache-2.0
"""Follows a moving name, such as an MLflow alias: the pool moves when the name does."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

from sparkmodel.loaders import Resolved
from sparkmodel.pool.intents import Intent
from sparkmodel.pool.master import Master
from sparkmodel.spec import ModelSpec

_log = logging.getLogger(__name__)
_TICK_S = 0.5


class Follower:
    """Looks every `refresh_s` for what the served source means now.

    A version that cannot be loaded is tried once; the old one goes on, and the name is looked at again. After a
    rollback the pool stays where it was rolled back to until the name moves. What the name was last seen to mean is
    the master's to know: the next master goes on from there.

    Args:
        master: Whose pool moves.
        successor: Gives what the source means now, with the spec that it was settled for.
    """

    def __init__(self, master: Master, successor: Callable[[ModelSpec], tuple[ModelSpec, Resolved]]) -> None:
        self.error: str | None = None
        self._master, self._successor = master, successor

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
        """Look once, and have the pool move if the name has moved."""
        try:
            revision = self._master.directory.revision  # somebody may move the pool while the registry answers
            _, resolved = self._successor(spec)
            uri = resolved.source.uri
            given, meant = self._master.seen
            if given != spec.source.given:
                meant = spec.source.uri
            if uri != meant:
                resolved = dataclasses.replace(resolved, payload=None, directory=None)
                self._master.apply(
                    Intent(kind="follow", source=resolved, expect=revision, by=f"the name {spec.source.given}")
                )
            serving = self._master.serving
            if serving is not None and uri == serving.source.uri:
                self.error = None
        except Exception as error:  # a registry that is down, a version that cannot be loaded: the old one goes on
            self.error = str(error)
            _log.warning("'%s' does not follow %s: %s", spec.name, spec.source.given, error)
