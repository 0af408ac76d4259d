# SPDX-License-Identifier: Apache-2.0
"""A directory that all worker processes of one node share: filled once, and removed with its last user.

File locks say who does what, so a process that is killed at any moment blocks nobody: the one who fills the directory
holds its lock alone, those who use it share the lock, and whoever gets it alone afterwards removes the directory.
The name of the lock file is that of `scratch`, whose `sweep` removes what killed users leave.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable

from sparkmodel.cluster.scratch import LOCK, PREFIX, is_current, remove, remove_if_free
from sparkmodel.errors import ModelLoadError

_CONTENT = "content"
_FILLED = ".filled"
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class NodeFiles:
    """A share in the directory. Making it blocks until the directory is filled, by this process or another.

    Args:
        root: Where the directory is, such as `scratch.ROOT`.
        key: What is in it: letters, digits, '.', '_' and '-'. Users with the same root and key share one directory,
            if they are of one operating system user.
        fill: Called with an empty directory to put the content in, if no process has done it yet. What it raises goes
            to the caller, and the next one tries for itself.

    Raises:
        ModelLoadError: the directory belongs to somebody else.
    """

    def __init__(self, root: pathlib.Path, key: str, fill: Callable[[pathlib.Path], None]) -> None:
        self._shared = root / f"{PREFIX}{os.getuid()}-{key}"
        self._lock = -1
        while not (self._join() or self._found(fill)):
            time.sleep(random.uniform(0, 0.01))  # else those who wait might keep each other from clearing up

    @property
    def path(self) -> pathlib.Path:
        """The directory with the content; it is there until `release`."""
        return self._shared / _CONTENT

    def release(self) -> None:
        """Give up the share; the last one removes the directory. Calling it twice does nothing."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)
            remove_if_free(self._shared)

    def _join(self) -> bool:
        """Wait for the one who fills it, if there is one. False if nothing is there then."""
        try:
            if os.lstat(self._shared).st_uid != os.getuid():  # /tmp is everybody's, and models run code
                raise ModelLoadError(f"Cannot share model files in '{self._shared}'", "another user owns it")
            lock = os.open(self._shared / LOCK, _FLAGS)
        except FileNotFoundError:
            return False
        fcntl.flock(lock, fcntl.LOCK_SH)
        if is_current(lock, self._shared) and (self._shared / _FILLED).exists():
            self._lock = lock
            return True
        os.close(lock)
        remove_if_free(self._shared)  # left by one who was killed
        return False

    def _found(self, fill: Callable[[pathlib.Path], None]) -> bool:
        """Fill it, unless another is faster. It gets its name only when its lock is held."""
        made = pathlib.Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=self._shared.parent))
        lock = os.open(made / LOCK, _FLAGS | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            made.rename(self._shared)
        except OSError as error:
            shutil.rmtree(made)
            os.close(lock)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        try:
            self.path.mkdir()
            fill(self.path)
            (self._shared / _FILLED).touch()
        except BaseException:
            remove(self._shared)
            os.close(lock)
            raise
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not is_current(lock, self._shared):  # the change of a lock may let another one in between
            os.close(lock)
            return False
        self._lock = lock
        return True
