# SPDX-License-Identifier: Apache-2.0
"""Pauses of a process that does nothing but serve."""

from __future__ import annotations

import gc


def shorten() -> None:
    """Leave what is there now, modules above all, out of Python's garbage collections from now on.

    Each of the whole memory would look at all of it, and every request that comes meanwhile would wait for a tenth of a
    second or two. In a process that does other things as well, what is garbage later would stay.
    """
    gc.collect()
    gc.freeze()
