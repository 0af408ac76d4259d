# SPDX-License-Identifier: Apache-2.0
"""Showing how far a deploy is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any


class DeployProgress:
    """Writes a line to stderr whenever a deploy gets further.

    Args:
        name: The model's name.
        enabled: None shows it on terminals only.
        watch: Is called with each status; what it raises ends the wait.
    """

    def __init__(self, name: str, enabled: bool | None = None, watch: Callable[[], None] | None = None) -> None:
        self._name, self._watch = name, watch
        self._enabled = sys.stderr.isatty() if enabled is None else enabled
        self._started = time.monotonic()
        self._last = ""

    def __enter__(self) -> DeployProgress:
        self._show("starting")
        return self

    def __call__(self, status: dict[str, Any]) -> None:
        """Show the master's status."""
        if self._watch is not None:
            self._watch()
        text = str(status["phase"])
        if status["workers"]:
            text += f", {status['ready']} of {status['workers']} workers"
        self._show(text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._show("ready" if kind is None else "failed")

    def _show(self, text: str) -> None:
        if self._enabled and text != self._last:
            self._last = text
            seconds = time.monotonic() - self._started
            print(f"sparkmodel: {self._name}: {text} ({seconds:.1f} s)", file=sys.stderr, flush=True)
