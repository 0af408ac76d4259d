# SPDX-License-Identifier: Apache-2.0
"""Programs of Debian packages for tests, without installing them: no root, and nothing outside one directory.

`python tools/debian.py PACKAGE DIRECTORY` unpacks a package, and what it needs that the system lacks. `program` is how
tests ask for a program: the system's own if it has one. apt-get is the client, and gets what the machine has set up.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

CLIENT_S = 900.0
_TO_INSTALL = re.compile(r"^Inst (\S+) (?:\[[^]]*\] )?\((\S+)", re.MULTILINE)
# Debian puts servers where no PATH leads
_PLACES = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/lib/postgresql/*/bin")


class DebianError(Exception):
    """A package cannot be had; the message says why and what to do."""


def program(name: str, package: str, target: pathlib.Path) -> pathlib.Path:
    """The program of that name: the system's, or the one in `package`, unpacked into `target` if it is not there.

    Raises:
        DebianError: the package cannot be had, or has no such program.
    """
    found = _program(name, pathlib.Path("/"))
    if found is None:
        found = _program(name, unpack(package, target))
    if found is None:
        raise DebianError(f"Cannot find program '{name}': package {package} has none. Hint: install it yourself.")
    return found


def _program(name: str, root: pathlib.Path) -> pathlib.Path | None:
    on_path = shutil.which(name) if root == pathlib.Path("/") else None
    found = [pathlib.Path(on_path)] if on_path else []
    for place in _PLACES:
        found += sorted(root.glob(f"{place}/{name}"), reverse=True)
    return next((path for path in found if path.is_file() and os.access(path, os.X_OK)), None)


def library_path(target: pathlib.Path) -> str:
    """What LD_LIBRARY_PATH has to be for programs in `target`: where their libraries were unpacked."""
    places = {str(path.parent) for path in target.glob("**/*.so*") if path.parent.parent.name == "lib"}
    return ":".join([*sorted(places), os.environ.get("LD_LIBRARY_PATH", "")]).strip(":")


def unpack(package: str, target: pathlib.Path) -> pathlib.Path:
    """Unpack a package, and what it needs that the system lacks, into `target`; once, whoever asks again.

    Raises:
        DebianError: there is no apt-get, or it does not get the package.
    """
    done = target / f".{package}.unpacked"
    if done.is_file():
        return target
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DebianError(f"Cannot get package '{package}': there is no {tool}. Hint: install {package} yourself.")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sparkmodel-debs-") as scratch:
        debs = _download(package, pathlib.Path(scratch))
        for deb in debs:
            _run(package, ["dpkg-deb", "-x", str(deb), str(target)], pathlib.Path(scratch))
    done.write_text("\n".join(deb.name for deb in debs) + "\n", encoding="utf-8")
    return target


def _download(package: str, scratch: pathlib.Path) -> list[pathlib.Path]:
    """The package's file and those that it needs: by the system's lists, or by lists of our own where it has none."""
    (scratch / "lists" / "partial").mkdir(parents=True)
    (scratch / "archives" / "partial").mkdir(parents=True)
    apt = ["apt-get", "-q", "-o", f"Dir::Cache={scratch}", "-o", "Debug::NoLocking=1", "-o", "Acquire::Retries=3"]
    if not os.geteuid():  # else apt wants to become a user that may not write here
        apt += ["-o", "APT::Sandbox::User=root"]
    try:
        return _download_by(apt, package, scratch)
    except DebianError:
        apt += ["-o", f"Dir::State::lists={scratch / 'lists'}"]
        _run(package, [*apt, "update"], scratch)
        return _download_by(apt, package, scratch)


def _download_by(apt: Sequence[str], package: str, scratch: pathlib.Path) -> list[pathlib.Path]:
    plan = _run(package, [*apt, "--simulate", "--no-install-recommends", "install", package], scratch)
    wanted = [f"{name}={version}" for name, version in _TO_INSTALL.findall(plan)]
    if not any(one.split("=")[0].split(":")[0] == package for one in wanted):
        wanted.append(package)  # it is installed, but for its program
    _run(package, [*apt, "download", *wanted], scratch)
    return sorted(scratch.glob("*.deb"))


def _run(package: str, command: Sequence[str], directory: pathlib.Path) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=CLIENT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired as error:
        raise DebianError(
            f"Cannot get package '{package}': {command[0]} had not ended after {CLIENT_S:g} s."
        ) from error
    if done.returncode:
        raise DebianError(
            f"Cannot get package '{package}': {command[0]} failed. Hint: run it again when you are online.\n"
            f"{done.stdout[-1000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def main(arguments: Sequence[str]) -> None:
    """Unpack one package."""
    if len(arguments) != 2:
        sys.exit("usage: debian.py PACKAGE DIRECTORY")
    try:
        unpack(arguments[0], pathlib.Path(arguments[1]))
    except DebianError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
