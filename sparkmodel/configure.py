# SPDX-License-Identifier: Apache-2.0
"""Setting up a Spark session, and letting its SQL reach this process."""

from __future__ import annotations

import os
import threading
from typing import Any

from sparkmodel.cluster.common import CONTROL_VARIABLE
from sparkmodel.control import serve
from sparkmodel.control.server import ControlServer
from sparkmodel.secret import new_secret
from sparkmodel.spark.bridge import attach_control
from sparkmodel.spark.session import prepare

_lock = threading.Lock()
_server: tuple[int, ControlServer, str, int] | None = None


def configure_spark(builder: Any, *, bridge: bool = True) -> Any:
    """Prepare a session builder; call it before `getOrCreate`.

    Spark starts its Python workers with PYSPARK_PYTHON, or with whatever `python3` is on the PATH. This sets
    PYSPARK_PYTHON to the interpreter that runs now, unless it names one of the same version already, or one that
    exists only on the executors. It also adds the jar of the bridge and its extension, beside what the builder or
    spark-defaults.conf have; without the jar it logs a warning, and queries run on the Python path. What SQL's
    statements about models ask for is done by this process, so that SQL and Python see the same models.

    Args:
        builder: `SparkSession.builder` or what its methods return.
        bridge: False leaves the jar out.

    Returns:
        The builder.
    """
    prepare(builder, bridge=bridge)
    if bridge:
        _announce()
    return builder


def _announce() -> None:
    """Serve the statements of the JVM that this process has, or will start."""
    global _server
    with _lock:
        if _server is None or _server[0] != os.getpid():  # a forked child has none of its parent's threads
            token = new_secret()
            _server = (os.getpid(), serve(token), token, _file_of(token))
        pid, server, token, file = _server
    os.environ[CONTROL_VARIABLE] = f"{pid}:{server.port}:/proc/{pid}/fd/{file}"
    attach_control(server.port, token)


def _file_of(secret: str) -> int:
    """A file in memory that this user's processes can read by way of /proc, and that ends with this one."""
    file = os.memfd_create("sparkmodel-control")
    os.fchmod(file, 0o400)
    os.write(file, secret.encode())
    return file
