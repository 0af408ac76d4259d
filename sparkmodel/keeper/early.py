# SPDX-License-Identifier: Apache-2.0
"""Starting a local Ray in the background, while something else is done that needs none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from sparkmodel.keeper import connection


def begin(address: str | None = None, namespace: str = connection.NAMESPACE) -> Callable[[], None]:
    """Begin to start a local Ray, if one is going to be needed.

    Of a cluster only the process that is going to join it starts: to join takes no time that would be worth it, and may
    last where the address is wrong.

    Returns:
        Waits until it has started, and raises what its start raised. Who gives up before need not call it: Ray goes on
        to start then, for who needs it next, and ends with the process.
    """
    if not connection.is_alone(address):
        connection.prepare()
        return lambda: None
    started: Future[None] = Future()

    def start() -> None:
        try:
            connection.ensure(address, namespace)
            connection.warm()
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(None)

    threading.Thread(target=start, name="sparkmodel-early", daemon=True).start()
    return started.result
