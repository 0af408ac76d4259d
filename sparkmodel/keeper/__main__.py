# SPDX-License-Identifier: Apache-2.0
"""`python -m sparkmodel.keeper DESCRIPTOR`: the process that holds Ray, started by a driver and gone with it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from sparkmodel.keeper.server import Server

if TYPE_CHECKING:
    from sparkmodel.keeper.commands import Commands

_END_S = 30.0  # Ray's own end takes two seconds; without its head, twenty


class _Keeper:
    """Imports Ray while the driver does something else."""

    def __init__(self, sock: socket.socket) -> None:
        self.server = Server(sock, self._run)
        self._commands: Future[Commands] = Future()

    def start(self, told: dict[str, Any]) -> None:
        """Be like the driver: what Ray starts finds the modules that the driver finds."""
        sys.argv[:], sys.path[:] = told["argv"], told["path"]
        os.environ.pop("PYTHONPATH", None)
        if told["python_path"] is not None:
            os.environ["PYTHONPATH"] = told["python_path"]
        threading.Thread(target=self._import, name="sparkmodel-import", daemon=True).start()

    def _import(self) -> None:
        try:
            from sparkmodel.keeper.commands import Commands

            self._commands.set_result(Commands(self.server))
        except BaseException as error:
            self._commands.set_exception(error)

    def _run(
        self, command: str, arguments: list[Any], named: Mapping[str, Any]
    ) -> tuple[Any, Callable[[], object] | None]:
        return self._commands.result().run(command, arguments, named)


def main() -> None:
    """Serve until the driver is gone, and end what was started for it."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)  # Ray's processes must not keep it open
    signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: what is started would inherit that
    signal.signal(signal.SIGTERM, lambda *_: sock.shutdown(socket.SHUT_RD))
    keeper = _Keeper(sock)
    keeper.server.serve(keeper.start)
    # whoever read it may be gone
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    timer = threading.Timer(_END_S, os._exit, args=(1,))  # whatever hangs, the process ends
    timer.daemon = True
    timer.start()
    keeper.server.end()
    if "sparkmodel.cluster.connection" in sys.modules:
        sys.modules["sparkmodel.cluster.connection"].shutdown()
    os._exit(0)  # commands that are under way are not waited for


if __name__ == "__main__":
    main()
