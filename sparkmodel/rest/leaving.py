# SPDX-License-Identifier: Apache-2.0
"""A caller that hangs up while its request is answered: nobody waits for the answer, so its work ends."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import Request

_AFTER_S = 0.05  # most are answered by then, and are not watched


class Leaving:
    """Cancels the task that it is entered in once the caller has left; `request.state.left` says that it was so."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._task: asyncio.Task[object] | None = None
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> Leaving:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_AFTER_S, self._begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        self._task = self._watch = None  # each has this in a frame: what is left would wait for the garbage collection

    def _begin(self) -> None:
        if self._request._stream_consumed:  # until then the one who reads the body hears of it
            self._watch = asyncio.ensure_future(self._wait())
        else:
            self._timer = asyncio.get_running_loop().call_later(_AFTER_S, self._begin)

    async def _wait(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._request.state.left = True
        if self._task is not None:
            self._task.cancel()
