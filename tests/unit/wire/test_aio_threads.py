# SPDX-License-Identifier: Apache-2.0
"""Work that waits for a thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from sparkmodel.wire.aio_threads import Threads


@pytest.mark.parametrize("how", ["too late", "cancelled"])
def test_what_nobody_waits_for_any_more_is_never_begun(how: str) -> None:
    go_on, begun = threading.Event(), list[str]()

    async def main() -> None:
        threads = Threads(1)
        first = asyncio.ensure_future(threads.run("pool", lambda: begun.append("first") or go_on.wait(60), None))
        until = time.monotonic() + 0.05 if how == "too late" else None
        second = asyncio.ensure_future(threads.run("pool", lambda: begun.append("second"), until))
        await asyncio.wait({second}, timeout=0.1)
        second.cancel()
        await asyncio.wait({second})
        assert second.cancelled() or isinstance(second.exception(), TimeoutError)
        go_on.set()
        assert await first
        await threads.run("pool", lambda: begun.append("third"), None)

    asyncio.run(main())
    assert begun == ["first", "third"]
