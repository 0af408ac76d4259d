# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: numbered steps with their seconds, checks, tables."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

_INDENT = "      "


class Console:
    """Tells the steps of a program and remembers whether all its checks held.

    Args:
        steps: How many steps there will be.
    """

    def __init__(self, steps: int) -> None:
        self.failed: list[str] = []
        self._steps, self._step = steps, 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A header now, the seconds it took at the end."""
        self._step += 1
        print(f"\n[{self._step}/{self._steps}] {title}", flush=True)
        started = time.monotonic()
        yield
        self.say(f"({time.monotonic() - started:.1f} s)")

    def say(self, text: str) -> None:
        """Lines below the header."""
        for line in text.splitlines():
            print(f"{_INDENT}{line}".rstrip(), flush=True)

    def check(self, claim: str, holds: bool) -> None:
        """Say whether a claim holds."""
        self.say(f"{'ok  ' if holds else 'FAILED'}  {claim}")
        if not holds:
            self.failed.append(claim)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Aligned columns: text to the left, numbers to the right."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
        right = [bool(rows) and isinstance(value, int | float) for value in rows[0]]
        for line in [list(header), ["-" * width for width in widths], *cells]:
            columns = zip(line, widths, right, strict=True)
            self.say("  ".join(text.rjust(width) if number else text.ljust(width) for text, width, number in columns))


def _cell(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


@contextlib.contextmanager
def stderr_to(log: pathlib.Path) -> Iterator[None]:
    """Send what this process, and a child that starts meanwhile, write to stderr into a file; show it on an error.

    Spark's JVM greets with a dozen lines of its own before any of its log settings apply.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    failed = False
    try:
        yield
    except Exception:
        failed = True
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        if failed:
            print(log.read_text(errors="replace"), file=sys.stderr, flush=True)
