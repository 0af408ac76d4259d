# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel scale`."""

from __future__ import annotations

from typing import Annotated

import typer

from sparkmodel.commands import options
from sparkmodel.commands.change import change
from sparkmodel.commands.gateway import path_of


def scale(
    name: options.Name,
    workers: Annotated[str, typer.Argument(help="A number, or the least and the most: 3, 0..4.")],
    url: options.Url = None,
    json: options.Json = False,
) -> None:
    """Have another number of workers.

    Example: sparkmodel scale wine 3

    As many as the calls keep busy, none while nobody calls: sparkmodel scale wine 0..4
    """
    change(url, "scaling", name, path_of(name, "scale"), {"workers": workers}, is_json=json)
