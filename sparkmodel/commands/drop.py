# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel drop`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sparkmodel.commands import options
from sparkmodel.commands.change import change
from sparkmodel.commands.gateway import path_of


def drop(
    name: options.Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: options.Url = None,
    json: options.Json = False,
) -> None:
    """End a model's pool. On a terminal it asks first.

    Example: sparkmodel drop wine --yes
    """
    if not yes and sys.stdin.isatty():
        typer.confirm(f"End the pool of '{name}'?", abort=True)
    change(url, "dropping", name, path_of(name), {}, is_json=json, method="DELETE")
