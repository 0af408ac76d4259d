# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel describe`."""

from __future__ import annotations

from sparkmodel.commands import options, show
from sparkmodel.commands.gateway import Gateway, path_of


def describe(name: options.Name, url: options.Url = None, json: options.Json = False) -> None:
    """Show all that is known of a model: inputs, options, versions, workers, latency, the last error.

    Example: sparkmodel describe wine
    """
    told = Gateway(url).ask("GET", path_of(name))
    if json:
        show.as_json(told)
        return
    show.card(told)
    latency = told["latency"]
    if latency.get("p50_s") is not None:
        print("latency  " + ", ".join(f"{key[:-2]} {value * 1000:.3g} ms" for key, value in latency.items()))
    if told["last_error"]:
        print(f"last error, {told['last_error']['at']}: {show.plain(told['last_error']['message'])}")
    if told["inputs"]:
        print()
        show.table(
            ("INPUT", "TYPE", "REQUIRED"),
            [(one["name"], one["type"], "yes" if one["required"] else "no") for one in told["inputs"]],
        )
    print()
    columns = ("version", "state", "source", "by", "since", "workers", "rows", "errors", "note")
    _rows(columns, told["versions"])
    print()
    _rows(("pid", "version", "node", "rows", "batches", "errors", "queued", "load_s", "answers"), told["workers_now"])


def _rows(columns: tuple[str, ...], found: list[dict[str, object]]) -> None:
    show.table([column.upper() for column in columns], [[one.get(column) for column in columns] for one in found])
