# SPDX-License-Identifier: Apache-2.0
"""`python -m sparkmodel.cluster.janitor DIRECTORY [SECONDS]`: what is left of a process that was killed goes with it.

It waits for the end of its stdin, which whoever started it holds. Processes that name the directory in their command
line get some seconds to end by themselves, then they are killed, and the directory is removed. With SECONDS, the next
owner of the directory may come within them, at a socket in it, and then it waits for that one's end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import IO

from sparkmodel.cluster import scratch, sockets

DOOR = "janitor"
_GRACE_S, _LOOK_S, _MOST_S = 5.0, 0.2, 60.0


def watch(directory: pathlib.Path, orphan_s: float = 0.0, lock: int | None = None) -> IO[bytes]:
    """Start a janitor for a directory that belongs to this process.

    Args:
        directory: What it removes.
        orphan_s: Seconds that it waits for the next owner; 0 for a directory that ends with this process.
        lock: File of the directory's lock, which it holds then too.

    Returns:
        What it waits for the end of: to be closed when the directory has been removed, or by this process's end.
    """
    # by way of a shell that ends, so that it is no child of this process: Ray kills the children of its workers
    command = 'exec 3<&0; "$0" -m sparkmodel.cluster.janitor "$1" "$2" <&3 3<&- &'
    held = () if lock is None else (fcntl.fcntl(lock, fcntl.F_DUPFD_CLOEXEC, 10),)  # beyond the shell's own
    reader, writer = os.pipe()
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with os.fdopen(reader) as end, contextlib.ExitStack() as stack:
        for file in held:
            stack.callback(os.close, file)
        subprocess.run(
            ["/bin/sh", "-c", command, sys.executable, str(directory), str(orphan_s)],
            env={**os.environ, "PYTHONPATH": path},
            stdin=end,
            stdout=subprocess.DEVNULL,  # who reads what its owner prints would wait for its end too
            stderr=subprocess.DEVNULL,
            pass_fds=held,
            start_new_session=True,
            check=True,
        )
    return os.fdopen(writer, "wb")


def main() -> None:
    """Wait, then clear up."""
    directory = pathlib.Path(sys.argv[1])
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    orphan_s = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    with contextlib.ExitStack() as stack:
        listener = None
        with contextlib.suppress(FileNotFoundError):  # its owner was fast, and has removed it
            listener = stack.enter_context(sockets.listen(directory, DOOR)) if orphan_s else None
        _wait(0)
        while listener is not None and directory.exists() and (owner := sockets.accept(listener, orphan_s)):
            with owner, contextlib.suppress(OSError):
                owner.sendall(b"y")  # else it could not tell this from the moment before it is too late
                _wait(owner.fileno())
    began = time.monotonic()
    while time.monotonic() - began < _MOST_S:
        living = processes_of(directory)
        if time.monotonic() - began > _GRACE_S:
            for pid in living:
                with contextlib.suppress(OSError):  # it has ended
                    os.kill(pid, signal.SIGKILL)
        if not living:
            with contextlib.suppress(FileNotFoundError):  # it was removed in order
                scratch.remove(directory)
            return
        time.sleep(_LOOK_S)


def _wait(owner: int) -> None:
    """Until its end."""
    with contextlib.suppress(OSError):
        while os.read(owner, 4096):
            pass


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
