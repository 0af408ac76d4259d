# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from sparkmodel.cluster.common import NAMESPACE


def doctor(
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", envvar="RAY_ADDRESS", help="Look at this Ray cluster too, its nodes and its pools."
        ),
    ] = None,
    namespace: Annotated[str, typer.Option(help="Ray namespace of the pools' names.")] = NAMESPACE,
    master: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Look at the executors of this Spark too, such as spark://host:7077."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all findings as one JSON object.")] = False,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="Remove what dead owners have left, here and with --address on the cluster."),
    ] = False,
) -> None:
    """Look at what is installed, reachable and left over, and say what to do.

    Nothing is started or joined, but for a cluster that is named. The exit code is 1 if something fails, else 0.
    """
    from sparkmodel.doctor import report

    code = report.run(address, namespace, master, as_json_=json, clean=clean)
    raise typer.Exit(code)
