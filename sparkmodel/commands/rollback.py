# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from sparkmodel.commands import options
from sparkmodel.commands.change import change
from sparkmodel.commands.gateway import path_of


def rollback(
    name: options.Name,
    to: Annotated[int | None, typer.Option(help="Number of a version, as describe tells them.")] = None,
    url: options.Url = None,
    json: options.Json = False,
) -> None:
    """End a canary, or go back to the version before.

    Example: sparkmodel rollback wine
    """
    change(url, "rolling back", name, path_of(name, "rollback"), {"to": to}, is_json=json)
