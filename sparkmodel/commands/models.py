# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel models`."""

from __future__ import annotations

from sparkmodel.commands import options, show
from sparkmodel.commands.gateway import Gateway


def models(url: options.Url = None, json: options.Json = False) -> None:
    """List the models that are served.

    Example: sparkmodel models

    In a script: sparkmodel models --json | jq -r '.[].name'
    """
    cards = Gateway(url).ask("GET", "/admin/models")["models"]
    if json:
        show.as_json(cards)
        return
    rows = []
    for card in cards:
        canary = card["canary"]
        beside = "" if canary is None else f" (+{canary['version']}: {canary['traffic']:.3g})"
        running = f"{card['running']} of {card['workers']}"
        trouble = card["problem"] or ""
        rows.append(
            (card["name"], f"{card['version']}{beside}", card["state"], running, card["rows"], card["source"], trouble)
        )
    show.table(("NAME", "VERSION", "STATE", "WORKERS", "ROWS", "SOURCE", "PROBLEM"), rows)
