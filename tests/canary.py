# SPDX-License-Identifier: Apache-2.0
"""Secrets are nowhere that others read: what tests print, logs, event logs, command lines, environments.

Each secret that the package makes begins with `sparkmodel.secret.PREFIX`, so it is found without knowing it. A
variable of the suite stands for a secret of the user's, which no process of ours but the driver may have.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable, Iterator

import pytest

from sparkmodel.secret import PREFIX

VARIABLE, VALUE = "SPARKMODEL_TESTS_PASSWORD", "canary-9b1f"  # of a user who has secrets in the environment
# hexadecimal digits, as any secret has them: the prefix alone is in this file, too
SECRET = re.compile(re.escape(PREFIX).encode() + rb"[0-9a-f]{16}|-----BEGIN (EC )?PRIVATE KEY-----")
_LOGS = {".log", ".out", ".err", ".txt", ".json", ".jsonl", ".inprogress", ""}
_MOST_BYTES = 8 << 20
_TOKEN_FILE = "token"  # of a Ray of our own, mode 0600


def in_text(text: str) -> str | None:
    """Where a secret is in a text, with what is before it; None if there is none."""
    found = SECRET.search(text.encode(errors="replace"))
    return None if found is None else text.encode(errors="replace")[max(0, found.start() - 80) : found.start()].decode()


def in_files(root: pathlib.Path) -> Iterator[str]:
    """The logs and other texts below a directory that hold one."""
    for path in root.rglob("*"):
        try:
            if path.name == _TOKEN_FILE or path.suffix not in _LOGS or path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                found = SECRET.search(file.read(_MOST_BYTES))
        except OSError:  # it has just gone
            continue
        if found is not None:
            yield f"{path} holds {found[0][: len(PREFIX) + 4]!r}..."


def in_processes(mark: str) -> Iterator[str]:
    """The processes of ours, by a mark in their command lines, that show one."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            if mark.encode() not in command and mark.encode() not in (entry / "environ").read_bytes():
                continue
            environment = (entry / "environ").read_bytes()
        except OSError:  # it has just ended, or is somebody else's
            continue
        if SECRET.search(command):
            yield f"the command line of {entry.name}"
        if SECRET.search(environment) or VALUE.encode() in environment:
            yield f"the environment of {entry.name}: {command[:80]!r}"


def check(found: Iterable[str]) -> None:
    """Fail if anything was found."""
    places = list(found)
    assert not places, "secrets are where others read: " + "; ".join(places[:10])


def check_report(report: pytest.TestReport) -> None:
    """Have a test fail that printed or logged one, or whose failure shows one."""
    texts = [text for name, text in report.sections if "Captured" in name]
    if (before := next((place for text in texts if (place := in_text(text)) is not None), None)) is not None:
        report.outcome = "failed"
        report.longrepr = f"a secret is in its output, after {before!r}"
