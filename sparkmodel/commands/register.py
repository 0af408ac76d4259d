# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel register`."""

from __future__ import annotations

from typing import Annotated

import typer

from sparkmodel.commands import options
from sparkmodel.commands.change import change

_NEW = Annotated[str, typer.Argument(help="Name of the model; it is a SQL function's name too.", show_default=False)]
_SOURCE = Annotated[str, typer.Argument(help="MLflow URI: models:/wine@champion, models:/wine/3, runs:/...")]


def register(
    name: _NEW,
    source: _SOURCE,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="A pool option; may be repeated.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="KEY=VALUE", help="An inference parameter; may be repeated."),
    ] = None,
    config: Annotated[
        list[str] | None, typer.Option("--config", metavar="KEY=VALUE", help="An entry of MLflow's model_config.")
    ] = None,
    result_type: Annotated[str | None, typer.Option(help="Type of one prediction in SQL's words.")] = None,
    method: Annotated[str | None, typer.Option(help="The model's method, such as predict_proba.")] = None,
    url: options.Url = None,
    json: options.Json = False,
) -> None:
    """Load a model into a pool, and serve it under a name over REST and SQL.

    Example: sparkmodel register wine models:/wine@champion -o workers=2 -o num_cpus=0.5
    """
    fields = {
        "name": name,
        "source": source,
        "options": options.pairs("--option", option or ()),
        "params": options.pairs("--param", param or ()),
        "model_config": options.pairs("--config", config or ()),
        "result_type": result_type,
        "method": method,
    }
    change(url, "registering", name, "/admin/models", fields, is_json=json)
