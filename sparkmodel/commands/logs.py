# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from sparkmodel.commands import options, show
from sparkmodel.commands.gateway import Gateway, path_of


def logs(
    name: options.Name,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many, at most.")] = 200,
    events: Annotated[bool, typer.Option("--events", help="What has happened to the model, newest first.")] = False,
    url: options.Url = None,
    json: options.Json = False,
) -> None:
    """Show what is known of a model's errors: the last one with its traceback, and how workers ended.

    What models print is in Ray's log files on each node, and not shown.

    Example: sparkmodel logs wine --events
    """
    if not events:
        told = Gateway(url).ask("GET", path_of(name, f"logs?lines={lines}"))["lines"]
        if json:
            show.as_json(told)
        else:
            print(*(show.plain(line) for line in told), sep="\n", end="\n" if told else "")
        return
    found = Gateway(url).ask("GET", path_of(name, "events"))["events"][:lines]
    if json:
        show.as_json(found)
    else:
        show.table(("TIME", "KIND", "WHAT"), [(one["time"], one["kind"], one["text"]) for one in found])
