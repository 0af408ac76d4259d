# SPDX-License-Identifier: Apache-2.0
"""What commands print: tables for people, JSON for programs, and how far a change is on terminals."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_TICK_S = 0.25


def as_json(value: Any) -> None:
    """Print JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; in a pipe its lines are not cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        # what a model is called or says is no markup, and may not move the cursor
        grid.add_row(*(Text(plain(value)) for value in row))
    Console(width=None if sys.stdout.isatty() else 10_000, highlight=False).print(grid)


def plain(value: Any) -> str:
    """A value in a line of text."""
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return "".join(sign if sign.isprintable() else " " for sign in text)


def card(told: Mapping[str, Any]) -> None:
    """Print a model's card, a line for each thing."""
    keys = ("name", "version", "source", "kind", "state", "workers", "running", "rows", "problem", "signature")
    lines = [(key, told[key]) for key in (*keys, "result_type", "comment") if told.get(key) not in (None, "")]
    if canary := told.get("canary"):
        lines.append(("canary", f"version {canary['version']} with {canary['traffic']:.3g} of the queries"))
    lines += [
        (f"option {key}", value if isinstance(value, str) else json.dumps(value))
        for key, value in (told.get("options") or {}).items()
    ]
    width = max(len(key) for key, _ in lines)
    for key, value in lines:
        print(f"{key:{width}}  {plain(value)}")


@contextlib.contextmanager
def progress(text: str, state: Callable[[], str]) -> Iterator[None]:
    """Show on stderr that something goes on, for how long, and its state; nothing where stderr is no terminal.

    Args:
        text: What goes on.
        state: Asked every two seconds, from another thread.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    over, started = threading.Event(), time.monotonic()
    with Console(stderr=True).status(text) as status:

        def tick() -> None:
            seen, count = "", 0
            while not over.wait(_TICK_S):
                if count % 8 == 0:
                    seen = state()
                count += 1
                status.update(plain(f"{text}, {time.monotonic() - started:.0f} s{seen and ': ' + seen}"))

        ticker = threading.Thread(target=tick, name="sparkmodel-progress", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            over.set()
