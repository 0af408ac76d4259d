# SPDX-License-Identifier: Apache-2.0
"""What the commands that change a model have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparkmodel.commands import show
from sparkmodel.commands.failing import CommandError
from sparkmodel.commands.gateway import CHANGE_S, Gateway, path_of


def change(
    url: str | None, doing: str, name: str, path: str, fields: Mapping[str, Any], *, is_json: bool, method: str = "POST"
) -> Any:
    """Make a change, show that it goes on, and print what is served then.

    Args:
        url: The gateway.
        doing: What goes on, such as `registering`.
        name: The model.
        path: Of the route.
        fields: Of the body; those that are None are left out.
        is_json: Whether JSON is printed.
        method: Of HTTP.
    """
    gateway = Gateway(url)
    body = {key: value for key, value in fields.items() if value not in (None, {})}
    with show.progress(f"{doing} {name}", lambda: _state(gateway, name)):
        told = gateway.ask(method, path, body if method == "POST" else None, CHANGE_S)
    if is_json:
        show.as_json(told)
    elif "version" in told:
        show.card(told)
    else:
        print(f"{told['name']} is gone")
    return told


def _state(gateway: Gateway, name: str) -> str:
    try:
        card = gateway.ask("GET", path_of(name), limit_s=2)
        return f"{card['state']}, {card['running']} of {card['workers']} workers"
    except (CommandError, KeyError, ValueError, TypeError):  # of a model that is registered just now
        return ""
