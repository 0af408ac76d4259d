# SPDX-License-Identifier: Apache-2.0
"""Temporary directories that do not outlive their process for long, even if it is killed.

The owner holds a file lock for as long as it lives; whoever makes the next directory removes those whose lock is
free. (A process id in the name would mislead containers that share a /tmp.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile

PREFIX = "sm-"
ROOT = pathlib.Path("/tmp")  # short: Ray puts sockets there, whose paths must fit into 107 characters
_LOCK = ".sparkmodel.lock"


class Scratch:
    """A temporary directory with its lock.

    Args:
        root: Where to make it; /tmp by default.
    """

    def __init__(self, root: pathlib.Path = ROOT) -> None:
        sweep(root)
        made = pathlib.Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=root))
        self._lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # only now by a name that others sweep
        self.path = made.rename(made.with_name(made.name.removeprefix(".")))

    def remove(self) -> None:
        """Remove it. Calling it twice does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def sweep(root: pathlib.Path = ROOT) -> None:
    """Remove the directories of dead owners."""
    for lock in root.glob(f"{PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):  # somebody else's, or just removed
            if lock.stat().st_uid == os.getuid() and _is_free(lock):
                shutil.rmtree(lock.parent, ignore_errors=True)


def _is_free(lock: pathlib.Path) -> bool:
    file = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
