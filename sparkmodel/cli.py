# SPDX-License-Identifier: Apache-2.0
"""The command `sparkmodel`: its door. Each command is a module of `sparkmodel.commands`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sparkmodel.commands import (
    describe,
    doctor,
    drop,
    hints,
    jar,
    logs,
    models,
    predict,
    promote,
    register,
    rollback,
    scale,
    serve,
    update,
)
from sparkmodel.commands.failing import INTERRUPTED, REFUSED, CommandError
from sparkmodel.errors import SparkModelError
from sparkmodel.version import __version__


class _Commands(TyperGroup):
    """Says errors in one line, and gives each kind its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (CommandError, SparkModelError) as error:
            print(hints.in_commands(str(error)), file=sys.stderr)
            raise typer.Exit(error.code if isinstance(error, CommandError) else REFUSED) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused, 2 wrong use, 3 no gateway, 130 Ctrl-C. Commands but serve, doctor and jar "
    "talk to a gateway: SPARKMODEL_URL and SPARKMODEL_TOKEN say which, and who you are.",
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"sparkmodel {__version__}")
        raise typer.Exit


@app.callback()
def door(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Python models served from pools, called from Spark SQL and over REST."""


for command in (
    *(serve.serve, models.models, describe.describe, register.register, update.update, scale.scale),
    *(rollback.rollback, promote.promote, drop.drop, predict.predict, logs.logs, doctor.doctor, jar.jar),
):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="sparkmodel")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
