# SPDX-License-Identifier: Apache-2.0
"""A Chromium for the tests of the console: the machine's own, else Debian's, else Playwright's.

`python tools/chromium.py DIRECTORY` sees to it that there is one, in DIRECTORY if the machine has none, and prints its
path. What is there already is kept.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGE = "chromium-headless-shell"
CLIENT_S = 900.0


def find(directory: pathlib.Path) -> pathlib.Path | None:
    """A Chromium that starts: on the PATH, or what `fetch` has put there."""
    own = [directory / "chromium", *sorted(directory.glob("playwright/*/*/*headless*shell"))]
    on_path = [pathlib.Path(path) for path in map(shutil.which, NAMES) if path]
    return next((path for path in (*on_path, *own) if path.is_file() and _starts(path)), None)


def fetch(directory: pathlib.Path) -> pathlib.Path:
    """A Chromium, from where there is one. Ends the program if there is none."""
    for get in (_from_debian, _from_playwright):
        found = find(directory)
        if found is not None:
            return found
        get(directory)
    return find(directory) or sys.exit("Cannot find a Chromium. Hint: install Debian's chromium, or go online.")


def _from_debian(directory: pathlib.Path) -> None:
    if shutil.which("apt-get") is None:
        return
    import debian  # beside this file

    try:
        site = debian.unpack(PACKAGE, directory / "debian")
    except debian.DebianError as error:
        print(error, file=sys.stderr)
        return
    libraries = sorted({str(path.parent) for path in site.glob("usr/lib/*/**/*.so*")})
    script = directory / "chromium"  # the package's libraries are for nobody else
    path = shlex.quote(":".join(libraries))
    program = shlex.quote(str(site / "usr" / "lib" / "chromium" / PACKAGE))
    script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={path} exec {program} "$@"\n', encoding="utf-8")
    script.chmod(0o755)


def _from_playwright(directory: pathlib.Path) -> None:
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    environment = {**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(directory / "playwright")}
    subprocess.run(command, env=environment, timeout=CLIENT_S, check=False)


def _starts(path: pathlib.Path) -> bool:
    try:
        done = subprocess.run([path, "--headless", "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: chromium.py DIRECTORY")
    print(fetch(pathlib.Path(sys.argv[1]).resolve()))
