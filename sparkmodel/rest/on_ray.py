# SPDX-License-Identifier: Apache-2.0
"""The gateway on a Ray cluster: the same application in Ray Serve's replicas, behind a proxy on every node."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import ray
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sparkmodel.cluster import connection
from sparkmodel.errors import InvalidOptionError, RayUnavailableError
from sparkmodel.rest import pauses
from sparkmodel.rest import tokens as tokens_
from sparkmodel.rest.serve import check_doors
from sparkmodel.rest.settings import Settings
from sparkmodel.rest.tokens import Token
from sparkmodel.wire.addresses import spelled

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

APPLICATION = "sparkmodel"
_ONGOING = 1000  # requests that one replica takes at a time: its own limits come first
_HTTP_OPTIONS = {"host": "host", "port": "port", "tls_cert": "ssl_certfile", "tls_key": "ssl_keyfile"}
_OF_SERVE = frozenset(_HTTP_OPTIONS)


class OnRay:
    """A gateway that Ray Serve runs. This process only looks after it: it ends with `close`, not with the process.

    Args:
        settings: How it serves.
        url: Where the proxy of this cluster's head serves.

    Attributes:
        url: As given.
    """

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings, self.url = settings, url
        self._over = threading.Event()

    def __repr__(self) -> str:
        return f"OnRay({self.url})"

    def run(self) -> None:
        """Return when it is closed, or at Ctrl-C, which closes it."""
        try:
            self._over.wait()
        except KeyboardInterrupt:  # which is how it ends
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Take the gateway out of the cluster; pools go on. Calling it twice does nothing."""
        if not self._over.is_set():
            self._over.set()
            _serve().delete(APPLICATION)

    def __enter__(self) -> OnRay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve_on_ray(
    settings: Settings,
    *,
    address: str | None = None,
    namespace: str = connection.NAMESPACE,
    replicas: int | None = None,
    tokens: Iterable[Token] = (),
) -> OnRay:
    """Run the gateway on the nodes of a Ray cluster. This process connects to it, and no process of Spark's should.

    Args:
        settings: How it serves; the proxies of all nodes bind `host` and `port`, and read `tls_cert` and `tls_key`.
        address: Of the cluster, `host:port`; None is RAY_ADDRESS.
        namespace: Ray namespace of the pools' names.
        replicas: Processes that serve; None is one for each node that lives.
        tokens: Who may ask for what.

    Raises:
        InvalidOptionError: there is no cluster, others could reach it without a token or TLS, or Ray Serve runs already
            and binds another host or port.
        RayUnavailableError: the cluster cannot be reached, or has no Ray Serve.
    """
    known = tuple(tokens)
    check_doors(settings, known)
    runtime = connection.ensure(address, namespace)
    if runtime.is_local:
        raise InvalidOptionError(
            "Cannot serve on Ray", "this Ray was started by this process and ends with it", "name a cluster: --address"
        )
    serve = _serve()
    _start(serve, settings)
    nodes: Any = ray.nodes
    alive = [node for node in nodes() if node["Alive"]]
    serve.run(
        _deployment(settings, namespace, lambda: known, num_replicas=replicas or max(1, len(alive))),
        name=APPLICATION,
        route_prefix="/",
        _local_testing_mode=False,
    )
    scheme = "https" if settings.tls_cert else "http"
    return OnRay(settings, f"{scheme}://{spelled(settings.host, settings.port)}")


def application(args: dict[str, Any]) -> Application:
    """The gateway for Ray Serve's own configuration: `import_path: sparkmodel.rest.on_ray:application`.

    Where it serves, and whether with TLS, is what Serve's `http_options` say. Tokens are read in each replica: from its
    environment, as `sparkmodel serve` reads them, and from a file.

    Args:
        args: Fields of `Settings` but those; and `namespace`, of the pools' names, and `tokens`, a file on each node.

    Raises:
        InvalidOptionError: there is no such field. A replica that others could reach without a token does not start.
    """
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in args.items()}
    namespace, file = fields.pop("namespace", connection.NAMESPACE), fields.pop("tokens", None)
    allowed = {field.name for field in dataclasses.fields(Settings)} - _OF_SERVE
    if wrong := sorted(fields.keys() - allowed):
        fact = f"{wrong[0]} is said in Serve's http_options" if wrong[0] in _OF_SERVE else "there is no such setting"
        raise InvalidOptionError(f"Cannot serve on Ray with '{wrong[0]}'", fact, "see docs/deploy.md")

    def known() -> tuple[Token, ...]:
        return (*(tokens_.read(file) if file is not None else ()), *tokens_.from_environment())

    return _deployment(Settings(**fields), namespace, known)


def _deployment(
    settings: Settings, namespace: str, known: Callable[[], tuple[Token, ...]], **options: Any
) -> Application:
    """Makes the gateway in each replica, whose keeper joins the cluster that the replica is on."""

    def build() -> FastAPI:
        from sparkmodel.keeper import connection as keeper
        from sparkmodel.rest.app import make_app
        from sparkmodel.rest.gateway import Gateway

        settled, tokens = dataclasses.replace(settings, **_opened()), known()
        check_doors(settled, tokens)
        keeper.ensure(None, namespace)
        app = make_app(Gateway(settled, tokens))
        app.add_middleware(_ProxysId)
        pauses.shorten()
        return app

    serve = _serve()
    options = {"max_ongoing_requests": _ONGOING, "ray_actor_options": {"num_cpus": 0.1}, **options}
    made: Application = serve.deployment(serve.ingress(build)(), name="gateway", **options).bind()
    return made


class _ProxysId:
    """Leaves `X-Request-Id` to Ray Serve, whose proxy adds it to each answer, be it there or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""

        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)["X-Request-Id"]
            await send(message)

        await self._app(scope, receive, send_without)


def _start(serve: Any, settings: Settings) -> None:
    """Have a proxy on every node; one that is there keeps where it serves, so it must be there already."""
    wanted = {name: getattr(settings, name) for name in _OF_SERVE}
    there = _opened()
    if not there:
        options = {option: wanted[name] for name, option in _HTTP_OPTIONS.items()}
        serve.start(proxy_location="EveryNode", http_options=options)
    elif there != wanted:
        differing = sorted(name for name in _OF_SERVE if there[name] != wanted[name])
        raise InvalidOptionError(
            "Cannot serve on Ray",
            "; ".join(f"Ray Serve runs there already with {name} {there[name]}" for name in differing),
            "serve as it does, or end it with `serve shutdown`",
        )


def _opened() -> dict[str, Any]:
    """Where Ray Serve's proxies serve, as fields of `Settings`; empty where there is no Ray Serve."""
    from ray.serve.context import _get_global_client

    client: Any = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return {}
    return {name: getattr(client.http_config, option) for name, option in _HTTP_OPTIONS.items()}


def _serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise RayUnavailableError(
            "Cannot serve on Ray", f"Ray Serve is not installed: {error}", "pip install 'sparkmodel[serve]'"
        ) from error
    return serve
