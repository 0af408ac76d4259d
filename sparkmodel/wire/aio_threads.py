# SPDX-License-Identifier: Apache-2.0
"""What an event loop has threads do: calls that may block, some at a time for each pool."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class Threads:
    """Threads of one event loop. Each ends with what it does, so that nothing is left to be closed.

    Args:
        at_once: Most for one pool: one that is cold or full does not hold up the others.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._places: dict[str, asyncio.Semaphore] = {}
        self._under_way: dict[str, int] = {}

    async def run(self, pool_id: str, work: Callable[[], _T], until: float | None) -> _T:
        """What a thread does. What has begun goes on when this is cancelled, or too late.

        Args:
            pool_id: Whose places it takes one of.
            work: What.
            until: When nobody waits any more, by the monotonic clock.

        Raises:
            TimeoutError: it is later.
        """
        self._under_way[pool_id] = self._under_way.get(pool_id, 0) + 1
        places = self._places.setdefault(pool_id, asyncio.Semaphore(self._at_once))
        try:
            task = asyncio.ensure_future(self._run(places, work))
            left_s = None if until is None else max(0.0, until - time.monotonic())
            try:
                done, _ = await asyncio.wait([task], timeout=left_s)
            finally:
                if not task.done():
                    task.cancel()
            if not done:
                raise TimeoutError
            return task.result()
        finally:
            self._under_way[pool_id] -= 1
            if not self._under_way[pool_id]:  # of pools that have ended nothing stays
                del self._under_way[pool_id]
                if not places.locked():
                    self._places.pop(pool_id, None)

    async def _run(self, places: asyncio.Semaphore, work: Callable[[], _T]) -> _T:
        await places.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def settle(value: _T | None, error: BaseException | None) -> None:
            places.release()
            if future.done():  # nobody waits any more
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type]  # it is None only where work gives that

        def run() -> None:
            value, error = None, None
            try:
                value = work()
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, value, error)

        threading.Thread(target=run, name="sparkmodel-call", daemon=True).start()
        return await future
