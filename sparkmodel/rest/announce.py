# SPDX-License-Identifier: Apache-2.0
"""Where the programs of the same user find a gateway of this machine, and the token that lets them change models."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib


def directory() -> pathlib.Path:
    """Where gateways are told of, below the user's home."""
    return pathlib.Path.home() / ".sparkmodel" / "gateways"


def announce(url: str, port: int, token: str) -> pathlib.Path:
    """Tell of a gateway of this process, in a file that only its user can read; those of ended processes go.

    Args:
        url: Where it serves.
        port: Port of it, the file's name.
        token: One for `admin`.
    """
    folder = directory()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    _sweep(folder)
    path = folder / f"{port}.json"
    path.unlink(missing_ok=True)  # else a link in its place would be followed, or its mode kept
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(file, "w", encoding="utf-8") as out:
        os.fchmod(file, 0o600)
        json.dump({"url": url, "token": token, "pid": os.getpid()}, out)
    return path


def withdraw(path: pathlib.Path) -> None:
    """Take back what was told, unless another process tells of its own there by now."""
    if _pid(path) == os.getpid():
        path.unlink(missing_ok=True)


def _sweep(folder: pathlib.Path) -> None:
    for path in folder.glob("*.json"):
        pid = _pid(path)
        if path.stem.isdigit() and pid is not None and not _lives(pid):
            path.unlink(missing_ok=True)


def _pid(path: pathlib.Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        pid = json.loads(path.read_text(encoding="utf-8"))["pid"]
        return pid if isinstance(pid, int) and pid > 0 else None
    return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
