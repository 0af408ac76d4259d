# SPDX-License-Identifier: Apache-2.0
"""Options and arguments that several commands have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from sparkmodel.commands.failing import CommandError, UsageError
from sparkmodel.commands.gateway import URL, Gateway

_COMPLETE_S = 0.5  # whoever presses Tab does not wait longer


def names(incomplete: str) -> list[str]:
    """Names of models that begin so, for shells; none where the gateway does not say them at once."""
    try:
        models = Gateway().ask("GET", "/admin/models", limit_s=_COMPLETE_S)["models"]
        return [model["name"] for model in models if model["name"].startswith(incomplete)]
    except (CommandError, KeyError, ValueError, TypeError):
        return []


Name = Annotated[str, typer.Argument(help="Name of the model.", autocompletion=names, show_default=False)]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help=f"The gateway; by default {URL}, else your own that is running, else port 5001 of this machine.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Traffic = Annotated[
    float | None,
    typer.Option(help="Share of the queries that the new version gets, 0 to 1, as a canary.", show_default=False),
]
MaxErrorRate = Annotated[
    float | None,
    typer.Option(
        help="Share of the canary's batches that may fail before it is rolled back by itself.", show_default=False
    ),
]
AllowNewInputs = Annotated[
    bool,
    typer.Option("--allow-new-inputs", help="Its inputs or its result may differ: queries that run keep the old one."),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="KEY=VALUE", help="A pool option; may be repeated.", show_default=False),
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="KEY=VALUE", help="An inference parameter; may be repeated."),
]
Config = Annotated[
    list[str] | None, typer.Option("--config", metavar="KEY=VALUE", help="An entry of MLflow's model_config.")
]
ResultType = Annotated[str | None, typer.Option(help="Type of one prediction in SQL's words, such as double.")]
Method = Annotated[str | None, typer.Option(help="The model's method, such as predict_proba.")]


def of_model(
    option: Sequence[str] | None,
    param: Sequence[str] | None,
    config: Sequence[str] | None,
    result_type: str | None,
    method: str | None,
) -> dict[str, Any]:
    """What is said of a model that is registered, as fields of the admin route's body; only what is given.

    Raises:
        UsageError: a pair is none, or there is one twice.
    """
    fields = {
        "options": pairs("--option", option or ()),
        "params": pairs("--param", param or ()),
        "model_config": pairs("--config", config or ()),
        "result_type": result_type,
        "method": method,
    }
    return {key: value for key, value in fields.items() if value not in (None, {})}


def pairs(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """Values by name, from `key=value`; a value is JSON where it is some, else a text.

    Raises:
        UsageError: one has no `=`, or there is one twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UsageError(f"{option} takes key=value, not '{text}'")
        if key in found:
            raise UsageError(f"{option} {key} is given twice")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
