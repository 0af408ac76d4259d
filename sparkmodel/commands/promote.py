# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel promote`."""

from __future__ import annotations

from sparkmodel.commands import options
from sparkmodel.commands.change import change
from sparkmodel.commands.gateway import path_of


def promote(name: options.Name, url: options.Url = None, json: options.Json = False) -> None:
    """Give all new queries to the canary.

    Example: sparkmodel promote wine
    """
    change(url, "promoting", name, path_of(name, "promote"), {}, is_json=json)
