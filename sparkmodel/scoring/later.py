# SPDX-License-Identifier: Apache-2.0
"""Results that come later: coroutines and generators of models that wait, such as for an endpoint somewhere else."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

_Outcome = tuple[Any, BaseException | None]


class Pieces(list[Any]):
    """What a generator gave, one after the other."""


class Later:
    """A result that is awaited on the loop that all calls in this process share, in a thread of its own.

    Args:
        result: A coroutine, another awaitable, or an async generator.

    Attributes:
        seconds: How long it took, once it is there.
    """

    def __init__(self, result: Any) -> None:
        self.seconds = 0.0
        self._result, self._there = result, concurrent.futures.Future[Any]()
        self._task: asyncio.Task[_Outcome] | None = None
        self._is_cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_there(self) -> bool:
        """Whether it, or an error, has come."""
        return self._there.done()

    def start(self, then: Callable[[], None]) -> None:
        """Begin; `then` is called when it is over, on the loop."""
        self._loop = _the_loop()

        def begin() -> None:
            self._task = asyncio.get_running_loop().create_task(self._outcome())
            self._task.add_done_callback(over)  # also of a task that was cancelled before its first step
            if self._is_cancelled:
                self._task.cancel()

        def over(task: asyncio.Task[_Outcome]) -> None:
            if task.cancelled():
                self.close()
            value, failure = (None, asyncio.CancelledError()) if task.cancelled() else task.result()
            try:
                then()
            finally:
                if failure is None:
                    self._there.set_result(value)
                else:
                    self._there.set_exception(failure)

        self._loop.call_soon_threadsafe(begin)

    async def _outcome(self) -> _Outcome:
        started = time.monotonic()
        try:
            return await _all_of(self._result), None
        except BaseException as error:  # also what would end the loop
            return None, error
        finally:
            self.seconds = time.monotonic() - started

    def cancel(self) -> None:
        """Have it end at its next step, if it is not over. Safe in any thread."""
        self._is_cancelled = True

        def end() -> None:
            if self._task is not None:
                self._task.cancel()

        if self._loop is not None:
            self._loop.call_soon_threadsafe(end)

    def close(self) -> None:
        """Never begin."""
        if inspect.iscoroutine(self._result):
            self._result.close()

    def result(self) -> Any:
        """The value, waited for. Raises what the model raised."""
        return self._there.result()


def is_later(result: Any) -> bool:
    """Whether a result has to be awaited."""
    return inspect.isawaitable(result) or hasattr(type(result), "__aiter__")


def finished(result: Any) -> Any:
    """A result, waited for if it comes later; what a generator gives as `Pieces`."""
    if is_later(result):
        later = Later(result)
        later.start(lambda: None)
        return later.result()
    return Pieces(result) if inspect.isgenerator(result) else result


async def _all_of(result: Any) -> Any:
    if hasattr(type(result), "__aiter__"):
        return Pieces([piece async for piece in result])
    value = await result
    if is_later(value):
        return await _all_of(value)
    return Pieces(value) if inspect.isgenerator(value) else value


_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def _the_loop() -> asyncio.AbstractEventLoop:
    """The loop, started when it is needed first: a process that forks workers has none."""
    with _lock:
        if not _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="sparkmodel-loop", daemon=True).start()
            _loops.append(loop)
        return _loops[0]
