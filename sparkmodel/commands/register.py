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
    option: options.Options = None,
    param: options.Params = None,
    config: options.Config = None,
    result_type: options.ResultType = None,
    method: options.Method = None,
    url: options.Url = None,
    json: options.Json = False,
) -> None:
    """Load a model into a pool, and serve it under a name over REST and SQL.

    Example: sparkmodel register wine models:/wine@champion -o workers=2 -o num_cpus=0.5
    """
    fields = {"name": name, "source": source, **options.of_model(option, param, config, result_type, method)}
    change(url, "registering", name, "/admin/models", fields, is_json=json)
