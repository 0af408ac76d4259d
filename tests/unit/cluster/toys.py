# SPDX-License-Identifier: Apache-2.0
"""What tests of processes share."""

from __future__ import annotations

import psutil


def has_ended(pid: int) -> bool:
    """Whether it has, collected by its parent or not."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
