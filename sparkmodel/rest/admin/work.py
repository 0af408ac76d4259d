# SPDX-License-Identifier: Apache-2.0
"""Threads for what may last, so that the event loop never waits; and who changed what."""

from __future__ import annotations

import asyncio
import collections
import functools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sparkmodel.control.locks import Locks
from sparkmodel.errors import ModelNotFoundError, PoolBusyError, SparkModelError, suggest
from sparkmodel.keeper import pools

_audit = logging.getLogger("sparkmodel.audit")
_LOOKS, _MOST = 8, 16
_KEPT = 500

T = TypeVar("T")


class Work:
    """Runs looks and changes.

    Attributes:
        changes: The latest changes through this gateway, oldest first: `time` (seconds since 1970), `model`, `text`.
    """

    def __init__(self) -> None:
        self._looks = ThreadPoolExecutor(_LOOKS, thread_name_prefix="sparkmodel-admin-look")
        self._locks, self._pending = Locks(), 0
        self.changes: collections.deque[dict[str, Any]] = collections.deque(maxlen=_KEPT)

    async def look(self, see: Callable[[], T]) -> T:
        """Look at something in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._looks, see)

    async def change(self, principal: str, name: str, action: str, make: Callable[[], T]) -> T:
        """Change a model in a thread; a second change of the same model waits for the first.

        A client that goes does not undo it: what was asked for is done.

        Raises:
            PoolBusyError: too many wait.
        """
        if self._pending >= _MOST:
            raise PoolBusyError(f"Cannot {action} model '{name}'", f"{_MOST} changes wait already", "try again later")
        self._pending += 1
        loop = asyncio.get_running_loop()
        future: Future[T] = Future()
        future.add_done_callback(functools.partial(self._later, loop))

        def run() -> None:
            try:
                future.set_result(self._run(principal, name, action, make))
            except BaseException as error:
                future.set_exception(error)

        # a thread of its own, that a gateway which is told to end does not wait for
        threading.Thread(target=run, name=f"sparkmodel-{action}", daemon=True).start()
        return await asyncio.shield(asyncio.wrap_future(future))

    def _later(self, loop: asyncio.AbstractEventLoop, _: Future[Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._done)

    def _done(self) -> None:
        self._pending -= 1

    def _run(self, principal: str, name: str, action: str, make: Callable[[], T]) -> T:
        with self._locks.of(name):
            outcome = "failed"
            try:
                made = make()
                outcome = "done"
                return made
            except ModelNotFoundError as error:
                outcome = error.condition
                raise _known(name, action, error) from error
            except SparkModelError as error:
                outcome = error.condition
                raise
            finally:
                who = principal or "nobody"
                _audit.info("principal=%r model=%r action=%s outcome=%s", who, name, action, outcome)
                text = f"{action} by {who}: {outcome}"
                self.changes.append({"time": time.time(), "model": name, "text": text})


def _known(name: str, action: str, error: ModelNotFoundError) -> ModelNotFoundError:
    """With the names that there are, where the model itself is not there."""
    if action == "register" or error.hint:
        return error
    return ModelNotFoundError(error.what, error.fact, suggest(name, pools.names()), error.details)
