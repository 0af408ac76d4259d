# SPDX-License-Identifier: Apache-2.0
"""What the system says of a process: whether it is stopped, and whether it wants a core and gets none."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

_SHARE = 0.5  # of a core: a process that has less, and wants more, waits for one
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12  # of the fields behind the state


@dataclasses.dataclass(frozen=True)
class Sight:
    """Of a process, at one look.

    Attributes:
        is_stopped: The system does not let it run until somebody lets it, as after SIGSTOP.
        waits: One of its threads could go on, and it got less than half of a core since the look before.
    """

    is_stopped: bool = False
    waits: bool = False


class Eye:
    """Looks at a process again and again. Where the system has no /proc it sees nothing, and no harm in that.

    Args:
        pid: Of the process.
        proc: Where the system tells of processes.
    """

    def __init__(self, pid: int, proc: pathlib.Path = pathlib.Path("/proc")) -> None:
        self._place = proc / str(pid)
        self._before: tuple[int, int] | None = None  # when, and its time on cores

    def look(self, now_ns: int, in_doubt: bool) -> Sight:
        """What is seen.

        Args:
            now_ns: CLOCK_MONOTONIC.
            in_doubt: Whether to look at its threads too, which takes longer.
        """
        fields = _fields(self._place / "stat")
        if fields is None:  # it has ended
            return Sight()
        before, self._before = self._before, (now_ns, (int(fields[_USER]) + int(fields[_SYSTEM])) * _TICK_NS)
        if fields[0] in (b"T", b"t"):
            return Sight(is_stopped=True)
        if not in_doubt or before is None:
            return Sight()
        got = self._before[1] - before[1]
        return Sight(waits=got < _SHARE * (now_ns - before[0]) and self._can_go_on())

    def _can_go_on(self) -> bool:
        """Whether any of its threads is on a core, or in the queue for one."""
        return any(fields is not None and fields[0] == b"R" for fields in self._threads())

    def _threads(self) -> Iterator[list[bytes] | None]:
        with contextlib.suppress(OSError):
            for thread in os.listdir(self._place / "task"):
                yield _fields(self._place / "task" / thread / "stat")


def _fields(file: pathlib.Path) -> list[bytes] | None:
    """The fields from the state on: the name before it may have blanks and brackets in it."""
    try:
        text = file.read_bytes()
    except OSError:
        return None
    return text[text.rindex(b")") + 2 :].split()
