# SPDX-License-Identifier: Apache-2.0
"""The gateway on a Ray cluster: the same application in Ray Serve's replicas, behind a proxy on every node."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ray

from sparkmodel.cluster import connection
from sparkmodel.errors import InvalidOptionError, RayUnavailableError
from sparkmodel.rest.settings import Settings
from sparkmodel.wire.addresses import spelled

if TYPE_CHECKING:
    from fastapi import FastAPI

APPLICATION = "sparkmodel"
_ONGOING = 1000  # requests that one replica takes at a time: its own limits come first


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
) -> OnRay:
    """Run the gateway on the nodes of a Ray cluster. This process connects to it, and no process of Spark's should.

    Args:
        settings: How it serves; the proxies of all nodes bind `host` and `port`.
        address: Of the cluster, `host:port`; None is RAY_ADDRESS.
        namespace: Ray namespace of the pools' names.
        replicas: Processes that serve; None is one for each node that lives.

    Raises:
        InvalidOptionError: there is no cluster, or Ray Serve runs already and binds another host or port.
        RayUnavailableError: the cluster cannot be reached, or has no Ray Serve.
    """
    runtime = connection.ensure(address, namespace)
    if runtime.is_local:
        raise InvalidOptionError(
            "Cannot serve on Ray", "this Ray was started by this process and ends with it", "name a cluster: --address"
        )
    serve = _serve()
    _start(serve, settings)
    nodes: Any = ray.nodes
    alive = [node for node in nodes() if node["Alive"]]
    options = {"name": "gateway", "max_ongoing_requests": _ONGOING, "ray_actor_options": {"num_cpus": 0.1}}
    deployment = serve.deployment(serve.ingress(_builder(settings, namespace))(), **options)
    application = deployment.options(num_replicas=replicas or max(1, len(alive))).bind()
    serve.run(application, name=APPLICATION, route_prefix="/", _local_testing_mode=False)
    return OnRay(settings, f"http://{spelled(settings.host, settings.port)}")


def _builder(settings: Settings, namespace: str) -> Any:
    """Makes the application in each replica, whose keeper joins the cluster that the replica is on."""

    def build() -> FastAPI:
        from sparkmodel.keeper import connection as keeper
        from sparkmodel.rest.app import make_app
        from sparkmodel.rest.gateway import Gateway

        keeper.ensure(None, namespace)
        return make_app(Gateway(settings))

    return build


def _start(serve: Any, settings: Settings) -> None:
    """Have a proxy on every node; one that is there keeps where it serves, so it must be there already."""
    wanted = {"host": settings.host, "port": settings.port}
    from ray.serve.context import _get_global_client

    client: Any = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        serve.start(proxy_location="EveryNode", http_options=wanted)
        return
    there = {"host": client.http_config.host, "port": client.http_config.port}
    if there != wanted:
        raise InvalidOptionError(
            "Cannot serve on Ray",
            f"Ray Serve runs there already at {there}, not at {wanted}",
            "serve there, or end it with `serve shutdown`",
        )


def _serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise RayUnavailableError(
            "Cannot serve on Ray", f"Ray Serve is not installed: {error}", "pip install 'sparkmodel[serve]'"
        ) from error
    return serve
