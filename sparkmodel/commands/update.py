# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel update`."""

from __future__ import annotations

from typing import Annotated

import typer

from sparkmodel.commands import options
from sparkmodel.commands.change import change
from sparkmodel.commands.gateway import path_of


def update(
    name: options.Name,
    source: Annotated[
        str | None, typer.Argument(help="The new source; by default what the present one means now.")
    ] = None,
    traffic: options.Traffic = None,
    max_error_rate: options.MaxErrorRate = None,
    allow_new_inputs: options.AllowNewInputs = False,
    url: options.Url = None,
    json: options.Json = False,
) -> None:
    """Move a model to a new version without a failed call; with --traffic as a canary first.

    Example: sparkmodel update wine models:/wine/4 --traffic 0.05 --max-error-rate 0.01

    Then sparkmodel promote wine, or sparkmodel rollback wine.
    """
    fields = {
        "source": source,
        "traffic": traffic,
        "max_error_rate": max_error_rate,
        "allow_new_inputs": allow_new_inputs or None,
    }
    change(url, "updating", name, path_of(name, "update"), fields, is_json=json)
