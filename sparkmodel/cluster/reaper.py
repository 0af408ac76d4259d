# SPDX-License-Identifier: Apache-2.0
"""How forked processes have ended: only their parent is told, so it leaves a note for whoever watches them.

The parent is the process that forks, and does not live for as long as they do. It becomes a small program then, which
waits for the rest of them and does nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import signal
import struct
import sys
import time

_WAIT_S, _LOOK_S = 1.0, 0.01  # for the parent to have its turn
# struct pidfd_info: what is asked for, and of what is answered the last
_MASK, _STATUS, _EXIT = struct.Struct("<Q"), struct.Struct("<i"), 1 << 3
_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
# in a directory that it is in, so that nobody who looks for its name in command lines takes this for a worker
_PROGRAM = """
import os
while True:
    try:
        pid, status = os.wait()
        with open(f".end-{pid}", "w") as file:
            file.write(str(status))
        os.rename(f".end-{pid}", f"end-{pid}")
    except ChildProcessError:
        break
    except OSError:
        continue
"""


class Reaper:
    """Of the forks of this process.

    Args:
        root: Directory of the notes.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._forked: set[int] = set()
        signal.signal(signal.SIGCHLD, lambda number, frame: self._reap())

    def note(self, pid: int) -> None:
        """One more has been forked."""
        self._forked.add(pid)
        self._reap()  # it may have ended before it was known

    def become(self) -> None:
        """End this process, or have it wait for those that live."""
        self._reap()
        if self._forked:
            os.chdir(self._root)
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", _PROGRAM])

    def _reap(self) -> None:
        for pid in list(self._forked):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                self._forked.discard(pid)
                continue
            if ended:
                self._forked.discard(pid)
                with contextlib.suppress(OSError):  # the directory has been removed
                    draft = self._root / f".end-{pid}"
                    draft.write_text(str(status))
                    draft.rename(self._root / f"end-{pid}")


def status_from(handle: int) -> int | None:
    """How the process of a handle has ended, whoever's child it was; None where the system does not tell (Linux 6.15).

    Args:
        handle: As `os.pidfd_open` gives it.
    """
    info = bytearray(64)
    _MASK.pack_into(info, 0, _EXIT)
    try:
        fcntl.ioctl(handle, _GET_INFO, info)
    except OSError:
        return None
    return int(_STATUS.unpack_from(info, 60)[0]) if _MASK.unpack_from(info, 0)[0] & _EXIT else None


def status_of(root: pathlib.Path, pid: int) -> int | None:
    """How a process that has ended did so, and no note of it any more; None if nobody says."""
    path = root / f"end-{pid}"
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            status = int(path.read_text())
            path.unlink()
            return status
        except (OSError, ValueError):
            if time.monotonic() > until:
                return None
            time.sleep(_LOOK_S)
