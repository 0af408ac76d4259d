# SPDX-License-Identifier: Apache-2.0
"""The directory of a node's workers, which outlives the process that made it: the next one takes it over.

Its janitor holds its lock, so nobody sweeps it, and removes it when no owner has come for some time.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import socket
import stat
import tempfile
import time
from typing import IO

from sparkmodel.cluster import janitor, sockets
from sparkmodel.cluster.scratch import LOCK, PREFIX, ROOT, sweep
from sparkmodel.errors import PoolNotReadyError

_WAIT_S, _LOOK_S = 30.0, 0.05  # for a janitor that is just starting, or clearing up


class Home:
    """A directory with a name that the next owner knows.

    Args:
        name: Of it: letters, digits and '-'; nobody else can foresee it.
        orphan_s: Seconds that it waits for the next owner.
        root: Where it is.

    Raises:
        PoolNotReadyError: it cannot be had.
    """

    def __init__(self, name: str, orphan_s: float, root: pathlib.Path = ROOT) -> None:
        self.path = root / f"{PREFIX}{name}"
        self._hold: socket.socket | IO[bytes] | None = None
        deadline = time.monotonic() + _WAIT_S
        while self._hold is None:
            if time.monotonic() > deadline:
                raise PoolNotReadyError(f"Cannot use directory '{self.path}'", "another process is removing it")
            self._hold = self._taken_over() or self._found(orphan_s) or self._made(orphan_s)
            if self._hold is None:
                time.sleep(_LOOK_S)
        sweep(root)

    def remove(self) -> None:
        """Remove it with all that is in it. Calling it twice does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.close()

    def _taken_over(self) -> socket.socket | None:
        """From an owner that has ended."""
        try:
            status = self.path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():  # /tmp is everybody's
                raise PoolNotReadyError(f"Cannot use directory '{self.path}'", "another user owns it")
            sock = sockets.connect(self.path, janitor.DOOR)
        except (FileNotFoundError, ConnectionError):
            return None
        sock.settimeout(_WAIT_S)  # it looks here when it has seen the end of the owner before
        try:
            is_ours = sock.recv(1) == b"y"
        except OSError:
            is_ours = False
        if not is_ours:
            sock.close()
        return sock if is_ours else None

    def _made(self, orphan_s: float) -> IO[bytes] | None:
        made = pathlib.Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=self.path.parent))
        lock = os.open(made / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made.rename(self.path)  # it gets its name only when its lock is held
            return janitor.watch(self.path, orphan_s, lock)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            return None
        finally:
            os.close(lock)

    def _found(self, orphan_s: float) -> IO[bytes] | None:
        """One whose janitor was killed too."""
        try:
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return janitor.watch(self.path, orphan_s, lock)
        except BlockingIOError:
            return None
        finally:
            os.close(lock)
