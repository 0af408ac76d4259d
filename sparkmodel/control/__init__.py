# SPDX-License-Identifier: Apache-2.0
"""The control service: what SQL's statements about models ask for, over HTTP on loopback.

It runs in the Python driver's process where there is one (`serve`), else in a process of its own
(`python -m sparkmodel.control`). Ray and MLflow are imported with the first command that needs them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sparkmodel.control.hints import in_sql
from sparkmodel.control.server import ControlServer
from sparkmodel.control.waiting import Watch
from sparkmodel.errors import SparkModelError
from sparkmodel.version import __version__

if TYPE_CHECKING:
    from sparkmodel.control.service import Service

NAMESPACE = "sparkmodel"


class _Commands:
    """Answers at once what needs no engine; the rest is imported by the first who asks for it."""

    def __init__(self, address: str | None, namespace: str, spares: int | None) -> None:
        self._address, self._namespace, self._spares = address, namespace, spares
        self._lock = threading.Lock()
        self._service: Service | None = None

    def run(self, command: str, fields: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
        if command == "ping":
            return {"version": __version__, "pid": os.getpid()}
        if command == "shutdown":
            return {}
        try:
            return self._open().run(command, fields, watch)
        except SparkModelError as error:
            raise in_sql(error) from error

    def _open(self) -> Service:
        with self._lock:
            if self._service is None:
                from sparkmodel.control.service import Service

                self._service = Service(self._address, self._namespace, self._spares)
            return self._service


def serve(
    token: str,
    *,
    ray_address: str | None = None,
    namespace: str = NAMESPACE,
    spares: int | None = None,
    on_shutdown: Callable[[], None] | None = None,
) -> ControlServer:
    """Serve the commands from this process, in daemon threads.

    Args:
        token: What requests must show.
        ray_address: Cluster to connect to, where this process is not connected yet; None is RAY_ADDRESS, or a local
            Ray that starts with the first model.
        namespace: Ray namespace of the pools' names.
        spares: Processes that each node keeps ready, as in `sparkmodel.init`; None is what this process's
            Spark is set to.
        on_shutdown: What the command `shutdown` does; by default it closes this server.

    Returns:
        The server, with `port` and `close()`.
    """
    return ControlServer(token, _Commands(ray_address, namespace, spares).run, on_shutdown)
