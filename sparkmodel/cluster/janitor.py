# SPDX-License-Identifier: Apache-2.0
"""`python -m sparkmodel.cluster.janitor DIRECTORY`: what is left of a process that was killed goes with it.

It waits for the end of its stdin, which whoever started it holds. Processes that name the directory in their command
line get some seconds to end by themselves, then they are killed, and the directory is removed.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import IO

_GRACE_S, _LOOK_S, _MOST_S = 5.0, 0.2, 60.0


def watch(directory: pathlib.Path) -> IO[bytes]:
    """Start a janitor for a directory that belongs to this process.

    Returns:
        What it waits for the end of: to be closed when the directory has been removed, or by this process's end.
    """
    # by way of a shell that ends, so that it is no child of this process: Ray kills the children of its workers
    command = 'exec 3<&0; "$0" -m sparkmodel.cluster.janitor "$1" <&3 3<&- &'
    reader, writer = os.pipe()
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with os.fdopen(reader) as end:
        subprocess.run(
            ["/bin/sh", "-c", command, sys.executable, str(directory)],
            env={**os.environ, "PYTHONPATH": path},
            stdin=end,
            start_new_session=True,
            check=True,
        )
    return os.fdopen(writer, "wb")


def main() -> None:
    """Wait, then clear up."""
    directory = pathlib.Path(sys.argv[1])
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    began = time.monotonic()
    while time.monotonic() - began < _MOST_S:
        living = processes_of(directory)
        if time.monotonic() - began > _GRACE_S:
            for pid in living:
                with contextlib.suppress(OSError):  # it has ended
                    os.kill(pid, signal.SIGKILL)
        if not living:
            shutil.rmtree(directory, ignore_errors=True)
            if not directory.exists():
                return
        time.sleep(_LOOK_S)


def processes_of(directory: pathlib.Path) -> list[int]:
    """Processes of this user, but this one, whose command lines name the directory."""
    name, found = str(directory).encode(), []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if name in (entry / "cmdline").read_bytes() and entry.stat().st_uid == os.getuid():
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    main()
