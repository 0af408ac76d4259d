# SPDX-License-Identifier: Apache-2.0
"""The last door before a model's workers: what would only wait there waits here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from types import TracebackType


class Gate:
    """Lets so many requests of a model go to its workers at a time, the others in the order in which they came.

    Each that went on to wait in a worker would be one more connection, and one more thread there, and in the gateway
    while it is made: they slow down the requests that do not wait. For one event loop only.

    Attributes:
        most: Requests that may be beyond it; whoever enters may change it.
    """

    def __init__(self) -> None:
        self.most = 1
        self._beyond = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, within_s: float) -> float:
        """Go through when it is its turn; `leave` afterwards.

        Args:
            within_s: Longest wait.

        Returns:
            Seconds that were waited.

        Raises:
            TimeoutError: it was not its turn in time.
        """
        if self._beyond < self.most and not self._waiting:
            self._beyond += 1
            return 0.0
        started = time.monotonic()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await asyncio.wait_for(turn, within_s)
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it was its turn this very moment
                self.leave()
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            if isinstance(error, asyncio.TimeoutError):  # in Python 3.10 it is another one
                raise TimeoutError from None
            raise
        return time.monotonic() - started

    def leave(self) -> None:
        """Let the next one through."""
        self._beyond -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._beyond < self.most:
            turn = self._waiting.popleft()
            if not turn.done():
                self._beyond += 1
                turn.set_result(None)

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.leave()
