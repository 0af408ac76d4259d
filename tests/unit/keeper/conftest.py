# SPDX-License-Identifier: Apache-2.0
"""A driver's link to a keeper that is a thread of this process, with commands of the tests and no Ray."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from sparkmodel.keeper.link import Link
from sparkmodel.keeper.server import Server


class NearProcess:
    """Stands for the process: its end is when the thread that serves ends."""

    def __init__(self, run: Callable[[str, list[Any], Mapping[str, Any]], Any]) -> None:
        self.sock, self.theirs = socket.socketpair()
        self.pid, self.said, self.shows, self.was_killed = os.getpid(), "what it said", False, False
        self.started: dict[str, Any] = {}
        self.server = Server(self.theirs, run)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self.server.serve(self.started.update)
        self.server.end()
        self.theirs.close()

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self.sock.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        self.was_killed = True
        self.theirs.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float = 30) -> str:
        self._thread.join(seconds)
        return "its process ended with 7"


@pytest.fixture
def near() -> Iterator[Callable[..., tuple[Link, NearProcess]]]:
    """`near(name=function, ...)` is a link to a keeper with these commands; each returns a value and what undoes it."""
    made: list[Link] = []

    def near_(**commands: Callable[..., tuple[Any, Callable[[], object] | None]]) -> tuple[Link, NearProcess]:
        process = NearProcess(lambda name, arguments, named: commands[name](*arguments, **named))
        made.append(Link(process))  # type: ignore[arg-type]
        return made[-1], process

    yield near_
    for link in made:
        if not link.is_closed and not link.has_ended:
            link.close()
