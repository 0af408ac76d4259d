# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel serve`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sparkmodel.cluster.common import NAMESPACE
from sparkmodel.commands import options
from sparkmodel.commands.failing import UsageError


def serve(
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at; 0 takes a free one.")] = 5001,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", envvar="RAY_ADDRESS", help="Ray cluster; by default a local Ray is started."),
    ] = None,
    namespace: Annotated[str, typer.Option(help="Ray namespace of the pools' names.")] = NAMESPACE,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=URI", help="Register this model first, unless it is served; may be repeated."),
    ] = None,
    option: options.Options = None,
    param: options.Params = None,
    config: options.Config = None,
    result_type: options.ResultType = None,
    method: options.Method = None,
    tokens: Annotated[str | None, typer.Option(metavar="FILE", help="Who may call what; see docs/rest.md.")] = None,
    tls_cert: Annotated[str | None, typer.Option(metavar="FILE", help="Certificate, in PEM.")] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="Its key, in PEM.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Serve others than this machine without TLS.")] = False,
    docs: Annotated[bool, typer.Option("--docs", help="Serve /docs and /openapi.json.")] = False,
    hedge: Annotated[bool, typer.Option("--hedge", help="Send slow calls to a second worker too.")] = False,
    record: Annotated[str | None, typer.Option(metavar="URI", help="Keep a record of calls there.")] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="Serve no console.")] = False,
    on_ray: Annotated[
        bool, typer.Option("--on-ray", help="Serve from every node of the Ray cluster, by Ray Serve.")
    ] = False,
    allow_source: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Let admins register from there too: a directory, a URI, or python:"),
    ] = None,
) -> None:
    """Serve models over REST until Ctrl-C, which is exit code 0.

    Example: sparkmodel serve --model wine=models:/wine@champion

    A model that does not say what it returns: sparkmodel serve --model wine=wine.pkl -o trust_pickle=true
    --result-type double. -o is for each --model, --result-type and the like for the only one.

    For others: sparkmodel serve --host 0.0.0.0 --tokens tokens.json --tls-cert cert.pem --tls-key key.pem
    """
    import importlib

    wanted: dict[str, str] = {}
    for text in model or ():
        name, sign, uri = text.partition("=")
        if not (name and sign and uri) or name in wanted:
            raise UsageError(f"--model takes name=URI, each name once, not '{text}'")
        wanted[name] = uri
    more = options.of_model(option, param, config, result_type, method)
    if more and not wanted:
        raise UsageError(f"{_said(more)} goes with --model")
    if more.keys() - {"options"} and len(wanted) > 1:
        raise UsageError(f"{_said(more)} goes with one --model: register the others with 'sparkmodel register'")
    settings: dict[str, Any] = {
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "insecure": insecure,
        "docs": docs,
        "hedge": hedge,
        "console": not no_console,
        "allow_sources": tuple(allow_source or ()),
    }
    only = next(iter(wanted)) if len(wanted) == 1 else None
    if record is not None:
        settings["record"] = record
    starts: Any = importlib.import_module("sparkmodel.rest.serve")
    if on_ray:
        _serve_on_ray(
            starts, {**settings, "host": host, "port": port, "only": only}, address, namespace, wanted, tokens
        )
        return
    if wanted:
        _register(address, namespace, wanted, more)
    starts.serve(
        host,
        port,
        block=True,
        address=address,
        namespace=namespace,
        model=only,
        tokens=tokens,
        **settings,
    )


def _serve_on_ray(
    starts: Any, settings: dict[str, Any], address: str | None, namespace: str, wanted: dict[str, str], file: str | None
) -> None:
    """Run the gateway on the cluster; with the doors that a gateway of this machine has."""
    import importlib

    from sparkmodel.rest import tokens
    from sparkmodel.rest.settings import Settings

    settled = Settings(**settings)
    known = (*(tokens.read(file) if file is not None else ()), *tokens.from_environment())
    starts.check_doors(settled, known)
    if wanted:
        raise UsageError("--model does not go with --on-ray: register models once it serves")
    on_ray: Any = importlib.import_module("sparkmodel.rest.on_ray")
    on_ray.serve_on_ray(settled, address=address, namespace=namespace, tokens=known).run()


def _register(address: str | None, namespace: str, wanted: dict[str, str], more: dict[str, Any]) -> None:
    """Serve models that are not served yet, without Spark, and show how far that is."""
    from sparkmodel.keeper import connection
    from sparkmodel.rest.admin.start import register

    connection.connect(address, namespace)
    for name, uri in wanted.items():
        register(name, uri, more)


def _said(more: dict[str, Any]) -> str:
    """An option of the command that was given."""
    words = {"options": "--option", "params": "--param", "model_config": "--config", "method": "--method"}
    return words.get(sorted(more.keys() - {"options"} or more)[0], "--result-type")
