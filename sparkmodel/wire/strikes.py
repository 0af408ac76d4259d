# SPDX-License-Identifier: Apache-2.0
"""Ending a call of a model in another thread, as far as Python lets one: at its next step in Python's own code."""

from __future__ import annotations

import ctypes


class Struck(BaseException):
    """Raised in a thread whose call of the model takes too long. No model should catch it."""


def strike(thread: int) -> None:
    """Have it raised in a thread, by its `threading.get_ident()`."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Struck))


def spare(thread: int) -> None:
    """Take back what has not been raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)
