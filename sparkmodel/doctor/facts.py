# SPDX-License-Identifier: Apache-2.0
"""What one process sees where it runs.

Its text is sent to executors and nodes and run there, where no sparkmodel may be installed: it needs the standard
library only, and nothing here judges.
"""

from __future__ import annotations

import fcntl
import glob
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from typing import Any

PACKAGES = ("sparkmodel", "pyspark", "pyarrow", "pandas", "numpy", "ray", "mlflow", "cloudpickle")
SCRATCH, _LOCK = "/tmp", ".sparkmodel.lock"
_OURS = re.compile(r"^sparkmodel |sparkmodel\.cluster|gcs_server|raylet|^ray::|ray/_private")
_KINDS = (
    ("gcs_server", "Ray's head"),
    ("raylet/raylet", "raylet"),
    ("ray::Supervisor", "supervisor"),
    ("sparkmodel worker", "worker"),
    ("ray::Worker", "worker"),
    ("sparkmodel.control", "control service"),
)
_LISTENS = "0A"  # the state in /proc/net/tcp


def collect(targets: list[Any], reach_s: float = 2.0) -> dict[str, Any]:
    """All of it, as JSON can carry it.

    Args:
        targets: (host, port) pairs that are connected to from here.
        reach_s: For each.
    """
    return {
        "host": socket.gethostname(),
        "machine": machine(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": {name: version(name) for name in PACKAGES},
        "java": java(),
        "reach": [[host, port, reach(host, port, reach_s)] for host, port in targets],
        "token_files": token_files(),
        "scratch": scratch(SCRATCH),
        "orphans": orphans(SCRATCH),
        "listening": listening(),
    }


def machine() -> str:
    """What tells this machine from others, and on one machine those apart that share neither network nor files."""
    parts = [socket.gethostname(), str(os.getuid())]
    for space in ("net", "mnt"):
        try:
            parts.append(os.readlink(f"/proc/self/ns/{space}"))
        except OSError:
            continue
    return " ".join(parts)


def version(package: str) -> str | None:
    """What is installed; None for nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pass
    try:  # one that is only on the path
        return str(importlib.import_module(f"{package}.version").__version__)
    except Exception:
        return None


def java() -> dict[str, str]:
    """The Java that Spark's scripts would take, and what it says of itself."""
    home = os.environ.get("JAVA_HOME", "")
    path = os.path.join(home, "bin", "java") if home else shutil.which("java") or ""
    found = {"home": home, "path": path, "version": "", "error": ""}
    if not path:
        return found
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20, check=False)
        match = re.search(r'version "([^"]+)"', done.stderr + done.stdout)
        found["version"] = match[1] if match else ""
        found["error"] = "" if match else (done.stderr + done.stdout).strip()[:200]
    except (OSError, subprocess.SubprocessError) as error:
        found["error"] = str(error)
    return found


def reach(host: str, port: int, seconds: float) -> str:
    """Why it cannot be connected to; empty if it can."""
    try:
        socket.create_connection((host, port), seconds).close()
    except OSError as error:
        return str(error) or type(error).__name__
    return ""


def token_files() -> list[dict[str, Any]]:
    """Files that may have Ray's token, which are there."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    paths = [*([named] if named else []), os.path.join(os.path.expanduser("~"), ".ray", "auth_token")]
    found = []
    for path in dict.fromkeys(paths):
        try:
            status = os.stat(path)
        except OSError:
            continue
        found.append({"path": path, "mode": status.st_mode & 0o777, "uid": status.st_uid})
    return found


def scratch(root: str) -> list[dict[str, Any]]:
    """sparkmodel's directories of this user, and whether their owners live."""
    found = []
    for lock in sorted(glob.glob(f"{root}/sm-*/{_LOCK}")):
        path = os.path.dirname(lock)
        try:
            status = os.lstat(path)
            if status.st_uid != os.getuid():
                continue
            held = is_held(lock)
        except OSError:  # it was removed just now
            continue
        found.append(
            {"path": path, "mode": status.st_mode & 0o777, "held": held, "age_s": time.time() - status.st_mtime}
        )
    return found


def is_held(lock: str) -> bool:
    """Whether a process holds the lock."""
    file = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def processes() -> list[tuple[int, str]]:
    """This user's, with their command lines."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid == os.getuid():
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    found.append((int(name), file.read().replace(b"\0", b" ").decode(errors="replace").strip()))
        except OSError:  # it has ended
            continue
    return found


def orphans(root: str) -> list[dict[str, Any]]:
    """Processes of sparkmodel or Ray that live for a directory of ours that is not there any more."""
    found, in_root = [], re.compile(f"({re.escape(root)}/sm-[0-9A-Za-z_-]+)")
    for pid, line in processes():
        named = in_root.search(line)
        if named and _OURS.search(line) and not os.path.exists(named[1]):
            found.append({"pid": pid, "command": line[:120], "directory": named[1]})
    return found


def listening() -> list[dict[str, Any]]:
    """Who of sparkmodel and Ray listens where, of this user's processes."""
    sockets: dict[str, tuple[str, int]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == _LISTENS:
                address, _, number = row[1].partition(":")
                sockets[f"socket:[{row[9]}]"] = numeric(address), int(number, 16)
    found = []
    for pid, line in processes():
        kind = next((kind for part, kind in _KINDS if part in line), None)
        if kind is None:
            continue
        try:
            files = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        for host, port in sorted({sockets[file] for file in files if file in sockets}):
            found.append({"pid": pid, "kind": kind, "host": host, "port": port})
    return found


def numeric(text: str) -> str:
    """An address as /proc/net writes it, in the usual form."""
    words = [bytes.fromhex(text[i : i + 8]) for i in range(0, len(text), 8)]
    data = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    if len(data) == 16 and data.startswith(bytes(10) + b"\xff\xff"):
        data = data[12:]
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)
