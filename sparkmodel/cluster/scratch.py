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
import secrets
import shutil
import tempfile

PREFIX = "sm-"
ROOT = pathlib.Path("/tmp")  # short: Ray puts sockets there, whose paths must fit into 107 characters
LOCK = ".sparkmodel.lock"


class Scratch:
    """A temporary directory with its lock.

    Args:
        root: Where to make it; /tmp by default.
    """

    def __init__(self, root: pathlib.Path = ROOT) -> None:
        sweep(root)
        made = pathlib.Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=root))
        self._lock = os.open(made / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
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
    for lock in root.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # somebody else's, or just removed
            if lock.stat().st_uid == os.getuid():
                remove_if_free(lock.parent)


def remove_if_free(directory: pathlib.Path) -> None:
    """Remove a directory with a lock file, if nobody holds the lock."""
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        if is_free(lock, directory):
            remove(directory)
    finally:
        os.close(lock)


def is_free(lock: int, directory: pathlib.Path) -> bool:
    """Whether nobody else held the lock of this directory; it is held by this process then."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return is_current(lock, directory)


def is_current(lock: int, directory: pathlib.Path) -> bool:
    """Whether the lock is of the directory that has the name now; while it is held, that stays so."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(directory / LOCK))
    except FileNotFoundError:
        return False


def remove(directory: pathlib.Path) -> None:
    """Remove it as the holder of its lock. The name is free at once; `sweep` finishes if this process is killed."""
    gone = directory.with_name(f"{PREFIX}gone-{secrets.token_hex(8)}")
    directory.rename(gone)
    for part in gone.iterdir():
        if part.name != LOCK:  # it goes last
            shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(gone, ignore_errors=True)
