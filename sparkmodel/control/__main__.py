# SPDX-License-Identifier: Apache-2.0
"""`python -m sparkmodel.control`: the service as a process of its own, for drivers that are not Python.

It reads `{"token": ..., "ray_address": null, "namespace": ..., "spares": null}` as one line from stdin, prints
`{"port": ..., "pid": ...}` as one line on stdout, and serves until stdin ends, which is when whoever started it is
gone.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import Any

from sparkmodel.control import NAMESPACE, serve
from sparkmodel.errors import ProtocolError

_SHUTDOWN_S = 30.0  # Ray's own end takes two seconds


def main() -> int:
    """Serve until the end; returns the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        start = _read_start(sys.stdin.buffer.readline())
    except ProtocolError as error:
        print(error, file=sys.stderr)
        return 2
    # stdout is for that one line: what libraries print must not fill a pipe that nobody reads
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a SQL shell means a query
    server = serve(
        start["token"],
        ray_address=start["ray_address"],
        namespace=start["namespace"],
        spares=start["spares"],
        on_shutdown=stop.set,
    )
    with out:
        out.write(json.dumps({"port": server.port, "pid": os.getpid()}) + "\n")
    threading.Thread(target=_wait_for_end, args=(stop,), name="sparkmodel-stdin", daemon=True).start()
    stop.wait()
    _end_later()
    server.close()
    if "sparkmodel.keeper.connection" in sys.modules:
        sys.modules["sparkmodel.keeper.connection"].shutdown()
    return 0


def _read_start(line: bytes) -> dict[str, Any]:
    what = "Cannot start the control service"
    hint = 'write {"token": "...", "ray_address": null, "namespace": "sparkmodel"} and a line break to its stdin'
    try:
        start = json.loads(line)
    except ValueError as error:
        raise ProtocolError(what, f"its first line is no JSON: {error}", hint) from error
    if not isinstance(start, dict) or not isinstance(start.get("token"), str) or not start["token"]:
        raise ProtocolError(what, "its first line has no token", hint)
    spares = start.get("spares")
    if spares is not None and (not isinstance(spares, int) or isinstance(spares, bool) or spares < 0):
        raise ProtocolError(what, f"'spares' is {spares!r}, not a whole number of at least 0", hint)
    settings = {"ray_address": None, "namespace": NAMESPACE}
    for key in settings:
        if not isinstance(start.get(key), str | None):
            raise ProtocolError(what, f"'{key}' is {start[key]!r}, not a text", hint)
    texts = {key: start.get(key) or default for key, default in settings.items()}
    return {"token": start["token"], "spares": spares, **texts}


def _wait_for_end(stop: threading.Event) -> None:
    while os.read(0, 65536):
        pass
    stop.set()


def _end_later() -> None:
    """Whatever hangs, the process ends."""
    timer = threading.Timer(_SHUTDOWN_S, os._exit, args=(1,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # commands that are under way are not waited for
