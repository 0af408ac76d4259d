# SPDX-License-Identifier: Apache-2.0
"""Starting a local Ray in the background, while something else is done that needs none."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future

from sparkmodel.cluster import connection, supervisors

_ray_log = logging.getLogger("ray._private.worker")


def begin(address: str | None = None, namespace: str = connection.NAMESPACE) -> Callable[[], None]:
    """Begin to start a local Ray, if one is going to be needed.

    To join a cluster takes no time that would be worth it, and may hang where the address is wrong.

    Returns:
        Waits until it has started, and raises what its start raised. Who gives up before need not call it: Ray goes on
        to start then, for who needs it next, and ends with the process.
    """
    if not connection.is_alone(address):
        return lambda: None
    _end_well()
    started: Future[None] = Future()

    def start() -> None:
        _ray_log.addFilter(_is_news)
        try:
            supervisors.warm(connection.ensure(address, namespace))
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(None)
        finally:
            _ray_log.removeFilter(_is_news)

    # a process that ends waits for this thread, and after it removes what was started
    threading.Thread(target=start, name="sparkmodel-early").start()
    return started.result


def _end_well() -> None:
    """End by SIGTERM as by `sys.exit`, so that Ray ends too: from the main thread, `ray.init` would see to it."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))


def _is_news(record: logging.LogRecord) -> bool:
    """Ray warns that it left SIGTERM alone, as is meant here."""
    return "SIGTERM handler is not set" not in record.getMessage()
