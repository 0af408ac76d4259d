# SPDX-License-Identifier: Apache-2.0
"""The keeper's process, as the driver has it: how it starts, what it prints, how it ends."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import weakref

from sparkmodel.cluster.common import APP_VARIABLE, new_app
from sparkmodel.errors import RayUnavailableError
from sparkmodel.keeper.environment import PASS, held_back, passed

_log = logging.getLogger("sparkmodel.keeper")
_app = new_app()  # of all keepers that this driver has, one after the other
_LINES = 20  # that are kept of what it prints
_END_S = 40.0  # longer than the keeper gives itself
_DRAIN_S = 1.0  # for what it printed last


class Process:
    """A keeper, started now.

    It has a session of its own, so that Ctrl-C in the terminal is the driver's alone, and ends when the driver's end
    of the socket is closed, be it by `kill -9`. What it prints, and what Ray prints in it, is kept for messages and
    logged; it is not the user's.

    Raises:
        RayUnavailableError: no process can be started.
    """

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self._output, output = os.pipe()
        self.shows = False  # whether what it prints goes to stderr
        self._last: collections.deque[str] = collections.deque(maxlen=_LINES)
        _living.add(self)
        if held := held_back(os.environ):
            _log.info("not passed on to models, as they look like secrets (%s does it): %s", PASS, ", ".join(held))
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "sparkmodel.keeper", str(theirs.fileno())],
                # the same modules as here, whatever made them reachable; the keeper takes this back
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            self.leave()
            raise RayUnavailableError("Cannot start the process that holds Ray", str(error)) from error
        finally:
            theirs.close()
            os.close(output)
        self.pid = self._popen.pid
        self._reader = threading.Thread(target=self._read, name="sparkmodel-keeper-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with os.fdopen(self._output, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._last.append(line.rstrip())
                if self.shows and sys.stderr is not None:
                    with contextlib.suppress(ValueError):  # it was closed
                        sys.stderr.write(line)
                else:
                    _log.info("%s", line.rstrip())

    def hang_up(self) -> None:
        """Have it end: it cleans up, and leaves."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended
            return

    def kill(self) -> None:
        """End it at once; what it started ends by itself."""
        self._popen.kill()

    def wait(self, seconds: float = _END_S) -> str:
        """Wait for its end, and end it after that time.

        Returns:
            How it ended, and what it said last.
        """
        try:
            code = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._popen.wait()
        self._reader.join(_DRAIN_S)  # others may have the other end of the pipe
        how = f"the process that holds it ended by signal {-code}" if code < 0 else f"its process ended with {code}"
        said = [line for line in self._last if line.strip()]
        return f"{how}, and said last: {said[-1]}" if said else how

    @property
    def said(self) -> str:
        """What it printed last."""
        return "\n".join(self._last)

    def leave(self) -> None:
        """Let go of it in a process that was forked: it is not ours."""
        descriptor = self.sock.detach()
        if descriptor >= 0:
            os.close(descriptor)


def _environment() -> dict[str, str]:
    """This process's, but for secrets: what the keeper starts runs the code of models."""
    return {
        **passed(os.environ),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        APP_VARIABLE: _app,
    }


_living: weakref.WeakSet[Process] = weakref.WeakSet()


def _leave_all() -> None:
    global _app
    _app = new_app()
    for process in list(_living):
        process.leave()


os.register_at_fork(after_in_child=_leave_all)
